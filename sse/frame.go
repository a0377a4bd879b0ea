package sse

import (
	"bytes"
	"strconv"
)

// Frame is an event in the form in which it goes to many connections. Made by
// [NewFrame]; it is never changed and may be shared.
type Frame []byte // a chunk of HTTP/1.1, RFC 9112, 7.1, whose data is the event

// lastChunk ends a response. RFC 9112, 7.1.
const lastChunk = "0\r\n\r\n"

// NewFrame makes a frame of one event, with the errors of [AppendEvent].
func NewFrame(e Event) (Frame, error) {
	b, err := AppendEvent(nil, e)
	if err != nil {
		return nil, err
	}
	return chunk(b), nil
}

// chunk makes a chunk of its own.
func chunk(events []byte) Frame {
	if len(events) == 0 {
		return nil // it would end the response
	}
	b := make([]byte, 0, len(events)+12)
	b = append(strconv.AppendInt(b, int64(len(events)), 16), '\r', '\n')
	return append(append(b, events...), '\r', '\n')
}

// events are those in the chunk.
func (f Frame) events() []byte {
	if len(f) == 0 {
		return nil
	}
	return f[bytes.IndexByte(f, '\n')+1 : len(f)-2]
}
