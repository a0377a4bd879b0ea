package sse

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrTooLarge: an event is larger than the reader allows.
var ErrTooLarge = errors.New("sse: event is too large")

// DefaultMaxEvent bounds an event for a Reader, in bytes.
const DefaultMaxEvent = 1 << 20

// Reader reads a stream of events as HTML 9.2.6 says a browser does. It is for
// one goroutine.
type Reader struct {
	r     *bufio.Reader
	max   int
	begun bool
	cr    bool // the last line ended in CR
	id    string
	retry time.Duration
}

// NewReader returns a reader. maxEvent bounds one event in bytes; zero means 1
// MiB.
func NewReader(r io.Reader, maxEvent int) *Reader {
	if maxEvent <= 0 {
		maxEvent = DefaultMaxEvent
	}
	return &Reader{r: bufio.NewReader(r), max: maxEvent}
}

// LastEventID is the cursor: the id of the last event that had one.
func (r *Reader) LastEventID() string { return r.id }

// Retry is the reconnection time the server asked for last; 0 if never.
func (r *Reader) Retry() time.Duration { return r.retry }

// Next returns the next event that has data, with the id that was valid for
// it. At the end of the stream it returns io.EOF; an event that was cut off
// there is not returned and its id does not count.
func (r *Reader) Next() (Event, error) {
	var e Event
	var data strings.Builder
	var has bool
	id, size := r.id, 0
	for {
		line, err := r.line(r.max - size)
		if err != nil {
			return Event{}, err
		}
		size += len(line)
		if len(line) == 0 {
			r.id = id
			if !has {
				e.Type, size = "", 0
				continue
			}
			e.ID, e.Data = id, data.String()
			return e, nil
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "data":
			if has {
				data.WriteByte('\n')
			}
			has = true
			data.WriteString(text(value))
		case "event":
			e.Type = text(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				id = text(value)
			}
		case "retry":
			r.setRetry(value)
		}
	}
}

// text reads bytes as UTF-8, as decoders of the web do.
func text(b []byte) string { return strings.ToValidUTF8(string(b), string(utf8.RuneError)) }

func (r *Reader) setRetry(value []byte) {
	var ms int64
	for _, c := range value {
		if c < '0' || c > '9' || ms > 1e12 {
			return
		}
		ms = 10*ms + int64(c-'0')
	}
	if len(value) > 0 {
		r.retry = time.Duration(ms) * time.Millisecond
	}
}

// line reads up to CR, LF or CRLF. What comes after the last of them is not a
// line.
func (r *Reader) line(limit int) ([]byte, error) {
	if !r.begun {
		r.begun = true
		if bom, err := r.r.Peek(3); err == nil && string(bom) == "\ufeff" {
			if _, err := r.r.Discard(3); err != nil {
				return nil, err
			}
		}
	}
	var line []byte
	for {
		c, err := r.r.ReadByte()
		if err != nil {
			return nil, err
		}
		switch c {
		case '\n':
			if r.cr && len(line) == 0 {
				r.cr = false // the second half of CRLF
				continue
			}
			r.cr = false
			return line, nil
		case '\r':
			r.cr = true // a LF may follow; to wait for it would hold the event back
			return line, nil
		}
		r.cr = false
		if len(line) >= limit {
			return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, r.max)
		}
		line = append(line, c)
	}
}
