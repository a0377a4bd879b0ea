package sse

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// ErrTooLarge: an event is larger than is written or read.
var ErrTooLarge = errors.New("too large")

// DefaultMaxEvent bounds an event for a Reader, in bytes.
const DefaultMaxEvent = 1 << 20

// ReaderOptions configures a Reader. The zero value is ready to use.
type ReaderOptions struct {
	// MaxEvent bounds an event's data and any one line, in bytes. Zero means
	// 1 MiB. A larger one is ErrTooLarge, after which nothing can be read.
	MaxEvent int
}

// Reader reads a stream of events as HTML 9.2.6 says a browser does. It is for
// one goroutine.
type Reader struct {
	r     *bufio.Reader
	max   int
	begun bool
	cr    bool   // the last line ended in CR
	buf   []byte // the line that is read
	data  []byte // of the event that is read
	id    string
	retry time.Duration
	asked bool // the server set retry, maybe to 0
}

// NewReader returns a reader. It reads ahead by up to 4 KiB.
func NewReader(r io.Reader, opts *ReaderOptions) *Reader {
	most := DefaultMaxEvent
	if opts != nil && opts.MaxEvent > 0 {
		most = opts.MaxEvent
	}
	return &Reader{r: bufio.NewReader(r), max: most}
}

// LastEventID is the cursor: the id of the last event that had one, whether or
// not that had data.
func (r *Reader) LastEventID() string { return r.id }

// Retry is the reconnection time the server asked for last; 0 if never.
func (r *Reader) Retry() time.Duration { return r.retry }

// All yields the events that Next returns, until the end of the stream or an
// error, which it then yields.
func (r *Reader) All() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := r.Next()
			if err == io.EOF {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Next returns the next event that has data, with the id that was valid for
// it. At the end of the stream it returns io.EOF; an event that was cut off
// there is not returned and its id does not count. Comments are skipped, and
// Retry is not of the event but of the reader.
func (r *Reader) Next() (Event, error) {
	var e Event
	has, id := false, r.id
	r.data = r.data[:0]
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			r.id = id // also if there is nothing to dispatch
			if has {
				e.ID, e.Data = id, text(r.data)
				return e, nil
			}
			e.Type = ""
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "data":
			if has {
				r.data = append(r.data, '\n')
			}
			has = true
			if r.data = append(r.data, value...); len(r.data) > r.max {
				return Event{}, r.tooLarge()
			}
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
func text(b []byte) string { return strings.ToValidUTF8(string(b), replacement) }

// setRetry takes digits only. What would be over 30 years is 30 years.
func (r *Reader) setRetry(value []byte) {
	var ms int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return
		}
		ms = min(10*ms+int64(c-'0'), 1e12)
	}
	if len(value) > 0 {
		r.retry, r.asked = time.Duration(ms)*time.Millisecond, true
	}
}

// line reads up to CR, LF or CRLF and returns what is before, valid until the
// next call. What comes after the last of them is not a line. It does not wait
// for the byte behind a CR, which would hold the event back.
func (r *Reader) line() ([]byte, error) {
	r.skipBOM()
	r.buf = r.buf[:0]
	for {
		if _, err := r.r.Peek(1); err != nil {
			return nil, err
		}
		chunk, _ := r.r.Peek(r.r.Buffered()) // all there, so there is no error
		if r.cr && chunk[0] == '\n' {
			r.cr = false // the second half of CRLF
			r.discard(1)
			continue
		}
		r.cr = false
		n := bytes.IndexAny(chunk, "\r\n")
		end := n >= 0
		if !end {
			n = len(chunk)
		}
		if len(r.buf)+n > r.max+len("data: ") {
			return nil, r.tooLarge()
		}
		r.buf = append(r.buf, chunk[:n]...)
		if end {
			r.cr = chunk[n] == '\r'
			r.discard(n + 1)
			return r.buf, nil
		}
		r.discard(n)
	}
}

// discard drops bytes that were peeked at, and so are there.
func (r *Reader) discard(n int) { r.r.Discard(n) } //nolint:errcheck // see above

// skipBOM drops one byte order mark at the start. A second one is data.
func (r *Reader) skipBOM() {
	if r.begun {
		return
	}
	r.begun = true
	if bom, err := r.r.Peek(3); err == nil && string(bom) == "\ufeff" {
		r.discard(3)
	}
}

func (r *Reader) tooLarge() error {
	return fmt.Errorf("sse: event of over %d bytes: %w", r.max, ErrTooLarge)
}
