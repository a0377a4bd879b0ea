package sse

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is one event of a stream.
type Event struct {
	// ID moves the reader's cursor, which it sends back as Last-Event-ID. It
	// has at most [MaxID] bytes and no control characters; only letters,
	// digits and . _ ~ - are free of trouble when another site's page
	// reconnects. Empty leaves the cursor where it is.
	ID string

	// Type is the event's name; empty means "message". No control characters.
	Type string

	// Data is the payload, of lines of at most [MaxLine] bytes. CR, LF and
	// CRLF in it all arrive as LF, and what is not UTF-8 as U+FFFD. An event
	// with an ID and neither Data nor Type moves the cursor in silence; to
	// send an empty message, set Type to "message".
	Data string

	// Retry tells the browser how long to wait before it reconnects, in whole
	// milliseconds. Zero and less tell nothing.
	Retry time.Duration

	// Comment is for people who look at the bytes. Readers drop it.
	Comment string
}

const (
	// MaxID bounds an id, in bytes, so that it fits a header everywhere.
	MaxID = 128

	// MaxLine bounds a line of data, in bytes. The standard has no bound, but
	// readers by lines have. Split what is larger, or send a reference.
	MaxLine = 1 << 20

	// heartbeat is a comment line and no blank line: some clients call their
	// handler at every blank line.
	heartbeat = ":\n"
)

// ErrField is returned for an id or type that cannot be sent.
var ErrField = errors.New("sse: id and type must be valid UTF-8 without control characters")

// AppendEvent appends the event in its wire form and returns dst as it was
// with an error. HTML 9.2.6: an event is dispatched at the blank line, so one
// that is cut off does not count and a crash in the middle skips no data. An
// event with Retry or Comment alone is dispatched nowhere and has no blank
// line.
func AppendEvent(dst []byte, e Event) ([]byte, error) {
	start := len(dst)
	if e.Comment != "" {
		dst = appendLines(dst, ": ", strings.ToValidUTF8(e.Comment, replacement))
	}
	if e.Retry > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, int64(max(e.Retry.Round(time.Millisecond), time.Millisecond)/time.Millisecond), 10)
		dst = append(dst, '\n')
	}
	dst, err := appendFields(dst, e.ID, e.Type)
	switch {
	case err != nil:
		return dst[:start], err
	case e.Data != "" || e.Type != "":
		if n := longest(e.Data); n > MaxLine {
			return dst[:start], fmt.Errorf("sse: a line of %d bytes, at most %d are allowed: %w", n, MaxLine, ErrTooLarge)
		}
		dst = appendLines(dst, "data: ", strings.ToValidUTF8(e.Data, replacement))
	case e.ID == "":
		return dst, nil
	}
	return append(dst, '\n'), nil
}

// appendFields appends id and type.
func appendFields(dst []byte, id, typ string) ([]byte, error) {
	if !clean(id) || !clean(typ) {
		return dst, ErrField
	}
	if len(id) > MaxID {
		return dst, fmt.Errorf("sse: id of %d bytes, at most %d are allowed: %w", len(id), MaxID, ErrTooLarge)
	}
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	if typ != "" {
		dst = append(append(append(dst, "event: "...), typ...), '\n')
	}
	return dst, nil
}

// appendLines writes a field per line of the text. The field's name ends in a
// space, always: parsers take away exactly one.
func appendLines[T string | []byte](dst []byte, field string, text T) []byte {
	dst = append(dst, field...)
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				i++
			}
			fallthrough
		case '\n':
			dst = append(append(dst, '\n'), field...)
		default:
			end := i + 1
			for end < len(text) && text[end] != '\r' && text[end] != '\n' {
				end++
			}
			dst = append(dst, text[i:end]...)
			i = end - 1
		}
	}
	return append(dst, '\n')
}

const replacement = string(utf8.RuneError)

// appendData is for payloads that are bytes.
func appendData(dst, data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte(replacement))
	}
	return appendLines(dst, "data: ", data)
}

// longest is the length of the longest line.
func longest(text string) int {
	most := 0
	for len(text) > MaxLine { // a shorter rest cannot be too long
		n := strings.IndexAny(text, "\r\n")
		if n < 0 {
			return max(most, len(text))
		}
		most, text = max(most, n), text[n+1:]
	}
	return most
}

// clean refuses what could end a line or be taken for another field. It is
// refused and not stripped: CWE-93.
func clean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
