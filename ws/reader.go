package ws

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/channels"
)

// Failure is what a client did wrong, as the close code and the reason that it
// is told.
type Failure struct {
	Code   int
	Reason string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("ws: the client broke the protocol: %d %s", f.Code, f.Reason)
}

func protocol(reason string) error { return &Failure{CloseProtocol, reason} }

var errUTF8 error = &Failure{CloseInvalid, "text is not UTF-8"}

// reader finds messages in what a client sends, however it is cut into pieces.
// Between messages it holds no memory but its own.
type reader struct {
	max     int  // bytes of a message, as sent and as unpacked
	deflate bool // permessage-deflate was agreed on

	// The frame under way.
	header [14]byte
	have   int  // of the header
	inside bool // the header is whole
	first  byte
	key    [4]byte
	size   int // of the payload
	got    int // of that

	// The message under way.
	open    bool // a fragment was final only for its frame
	op      byte
	packed  bool // compressed
	frames  int
	message []byte
	checked int // bytes of the message that are UTF-8

	control []byte // of a control frame that did not come in one piece
}

// partial reports whether the client is in the middle of a message or a frame.
func (r *reader) partial() bool { return r.open || r.inside || r.have > 0 }

// control is a control frame.
type control struct {
	op      byte
	payload []byte // valid until the next call
}

// next takes bytes off the front of b until there is a message or a control
// frame, or nothing left: then op of both is 0. It changes b's bytes.
func (r *reader) next(b *[]byte) (m channels.Message, got bool, c control, err error) {
	for {
		if !r.inside {
			whole, err := r.readHeader(b)
			if !whole || err != nil {
				return m, false, c, err
			}
		}
		piece := (*b)[:min(len(*b), r.size-r.got)]
		*b = (*b)[len(piece):]
		unmask(piece, r.key, r.got)
		r.got += len(piece)
		done := r.got == r.size
		if done {
			r.inside, r.have = false, 0
		}
		if op := r.first & 0x0f; op >= opClose {
			if c.payload = r.controlPiece(piece, done); done {
				c.op = op
				return m, false, c, nil
			}
			return m, false, c, nil
		}
		m, got, err = r.dataPiece(piece, done)
		if got || err != nil || !done {
			return m, got, c, err
		}
	}
}

// controlPiece gathers a control frame's payload.
func (r *reader) controlPiece(piece []byte, done bool) []byte {
	if done && len(r.control) == 0 {
		return piece
	}
	r.control = append(r.control, piece...)
	if !done {
		return nil
	}
	whole := r.control
	r.control = nil
	return whole
}

// dataPiece adds a piece of a message, which is got when that was its last.
func (r *reader) dataPiece(piece []byte, done bool) (m channels.Message, got bool, err error) {
	last := done && r.first&bitFin != 0
	if last && r.message == nil {
		r.message = make([]byte, 0, len(piece))
	}
	r.message = append(r.message, piece...)
	if r.op == opText && !r.packed {
		if err := r.checkText(last); err != nil {
			return m, false, err
		}
	}
	if !last {
		return m, false, nil
	}
	m = channels.Message{Text: r.op == opText, Data: r.message}
	packed := r.packed
	r.open, r.packed, r.frames, r.message, r.checked = false, false, 0, nil, 0
	if packed {
		if m.Data, err = inflate(m.Data, r.max); err != nil {
			return m, false, err
		}
		if m.Text && !utf8.Valid(m.Data) {
			return m, false, errUTF8
		}
	}
	return m, true, nil
}

// checkText fails as soon as what is there can be no part of a text.
// RFC 6455, 8.1.
func (r *reader) checkText(last bool) error {
	b := r.message[r.checked:]
	if last {
		if !utf8.Valid(b) {
			return errUTF8
		}
		return nil
	}
	whole := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ { // a rune may be cut at the end
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				whole = len(b) - i
			}
			break
		}
	}
	if !utf8.Valid(b[:whole]) {
		return errUTF8
	}
	r.checked += whole
	return nil
}

// readHeader reports whether the header is whole.
func (r *reader) readHeader(b *[]byte) (bool, error) {
	for r.have < 2 || r.have < headerSize(r.header[1]) {
		if len(*b) == 0 {
			return false, nil
		}
		r.header[r.have] = (*b)[0]
		r.have++
		*b = (*b)[1:]
		if r.have == 2 {
			if err := r.checkHeader(r.header[0], r.header[1]); err != nil {
				return false, err
			}
		}
	}
	size, err := r.payloadSize()
	if err != nil {
		return false, err
	}
	r.first, r.size, r.got, r.inside = r.header[0], size, 0, true
	copy(r.key[:], r.header[r.have-4:])
	if op := r.first & 0x0f; op < opClose {
		return true, r.beginData(op)
	}
	return true, nil
}

// headerSize is of a client's frame, whose last four bytes are the key.
func headerSize(second byte) int {
	switch second &^ bitMask {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	}
	return 2 + 4
}

// checkHeader is RFC 6455, 5.2 to 5.5, and 7692, 6.1.
func (r *reader) checkHeader(first, second byte) error {
	op, fin := first&0x0f, first&bitFin != 0
	rsv := first & bitsRSV
	if r.deflate && (op == opText || op == opBinary) {
		rsv &^= bitRSV1
	}
	switch {
	case rsv != 0:
		return protocol("a reserved bit is set")
	case op > opBinary && op < opClose || op > opPong:
		return protocol("an opcode is unknown")
	case second&bitMask == 0:
		return protocol("a frame is not masked")
	case op >= opClose && !fin:
		return protocol("a control frame is fragmented")
	case op >= opClose && second&^bitMask > maxControl:
		return protocol("a control frame is longer than 125 bytes")
	case op == opContinuation && !r.open:
		return protocol("a continuation continues nothing")
	case (op == opText || op == opBinary) && r.open:
		return protocol("a message begins inside another one")
	}
	return nil
}

// payloadSize reads the length, and refuses it before anything is allocated.
func (r *reader) payloadSize() (int, error) {
	size := uint64(r.header[1] &^ bitMask)
	short := false
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(r.header[2:]))
		short = size <= 125
	case 127:
		size = binary.BigEndian.Uint64(r.header[2:])
		short = size <= 0xffff
	}
	switch {
	case short:
		return 0, protocol("a length is not written in its shortest form")
	case size>>63 != 0:
		return 0, protocol("a length has its top bit set")
	case r.header[0]&0x0f < opClose && size > uint64(max(r.max-len(r.message), 0)):
		return 0, r.tooBig()
	}
	return int(size), nil
}

func (r *reader) tooBig() error {
	return &Failure{CloseTooBig, fmt.Sprintf("messages have at most %d bytes", r.max)}
}

// maxFrames bounds a message's fragments, of which empty ones cost nothing
// else.
func (r *reader) maxFrames() int { return 1024 + r.max/16 }

func (r *reader) beginData(op byte) error {
	if op != opContinuation {
		r.op, r.packed = op, r.first&bitRSV1 != 0
	}
	r.open = true
	if r.frames++; r.frames > r.maxFrames() {
		return &Failure{CloseTooBig, "a message has too many fragments"}
	}
	return nil
}

// readClose reads a close frame's payload. RFC 6455, 5.5.1.
func readClose(payload []byte) (code int, reason string, err error) {
	switch {
	case len(payload) == 0:
		return CloseNoStatus, "", nil
	case len(payload) == 1:
		return 0, "", protocol("a close frame has half a code")
	}
	code, reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
	if !validCode(code) {
		return 0, "", protocol("a close code is not valid")
	}
	if !utf8.ValidString(reason) {
		return 0, "", &Failure{CloseInvalid, "a close reason is not UTF-8"}
	}
	return code, reason, nil
}

// failure returns err as what the client is told, if it is that.
func failure(err error) (*Failure, bool) {
	var f *Failure
	return f, errors.As(err, &f)
}
