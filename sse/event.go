package sse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is one event of a stream.
type Event struct {
	// ID moves the reader's cursor. It is sent back as Last-Event-ID. It may
	// have no control characters. Empty leaves the cursor where it is.
	ID string

	// Type is the event's name; empty means "message". No control characters.
	Type string

	// Data is the payload. An event with an id and neither data nor type moves
	// the cursor and is not dispatched. CR, LF and CRLF in it all arrive as LF.
	Data string

	// Retry tells the browser how long to wait before it reconnects. Zero
	// tells nothing.
	Retry time.Duration
}

// ErrField is returned for an id or type that cannot be sent.
var ErrField = errors.New("sse: id and type must be valid UTF-8 without control characters")

// MaxID bounds an id, in bytes, so that it fits a header everywhere.
const MaxID = 128

// AppendEvent appends the event in its wire form, which ends in a blank line.
// HTML 9.2.6: a field is dispatched with the blank line, so an event that is
// cut off does not count and a crash in the middle cannot skip data.
func AppendEvent(dst []byte, e Event) ([]byte, error) {
	if !clean(e.ID) || !clean(e.Type) {
		return dst, ErrField
	}
	if len(e.ID) > MaxID {
		return dst, fmt.Errorf("sse: id of %d bytes, at most %d are allowed", len(e.ID), MaxID)
	}
	if e.Retry > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, e.Retry.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	if e.ID != "" {
		dst = append(append(append(dst, "id: "...), e.ID...), '\n')
	}
	if e.Type != "" {
		dst = append(append(append(dst, "event: "...), e.Type...), '\n')
	}
	if e.Data != "" || e.Type != "" {
		dst = appendData(dst, e.Data)
	}
	return append(dst, '\n'), nil
}

// appendData writes a line per line of the payload. Always with the space:
// parsers take away exactly one.
func appendData(dst []byte, data string) []byte {
	data = strings.ToValidUTF8(data, string(utf8.RuneError))
	for {
		i := strings.IndexAny(data, "\r\n")
		line := data
		if i >= 0 {
			line = data[:i]
		}
		dst = append(append(append(dst, "data: "...), line...), '\n')
		if i < 0 {
			return dst
		}
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
}

// clean refuses what could end a line or be taken for another field. It is
// refused and not stripped: CWE-93.
func clean(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// heartbeat is a comment line and no blank line: some clients call their
// handler at every blank line.
const heartbeat = ":\n"
