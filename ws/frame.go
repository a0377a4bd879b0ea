package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/channels"
)

// Opcodes. RFC 6455, 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// Bits of a frame's first byte. RFC 6455, 5.2.
const (
	bitFin  = 0x80
	bitRSV1 = 0x40 // compressed. RFC 7692, 6
	bitsRSV = 0x70
	bitMask = 0x80 // of the second byte
)

// Close codes. RFC 6455, 7.4.1, and the registry of the IANA.
const (
	CloseNormal    = 1000
	CloseGoingAway = 1001
	CloseProtocol  = 1002
	CloseNoStatus  = 1005 // never sent: the close frame had no code
	CloseAbnormal  = 1006 // never sent: there was no close frame
	CloseInvalid   = 1007 // text that is not UTF-8
	ClosePolicy    = 1008
	CloseTooBig    = 1009
	CloseError     = 1011
	CloseRestart   = 1012
	CloseTryLater  = 1013
)

const (
	maxControl = 125            // bytes of a control frame. RFC 6455, 5.5
	maxReason  = maxControl - 2 // of which the code takes two
)

// validCode reports whether a close frame may carry the code.
// RFC 6455, 7.4: 1012 to 1014 were registered later; 3000 to 4999 are free.
func validCode(code int) bool {
	switch {
	case code >= 3000 && code < 5000:
		return true
	case code == 1004 || code == CloseNoStatus || code == CloseAbnormal:
		return false
	}
	return code >= 1000 && code <= 1014
}

// appendFrame adds a whole message in one frame, unmasked, as servers send it.
func appendFrame(b []byte, first byte, payload []byte) []byte {
	n := len(payload)
	switch {
	case n <= 125:
		b = append(b, first|bitFin, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, first|bitFin, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first|bitFin, 127), uint64(n))
	}
	return append(b, payload...)
}

// maxHeader is the most that appendFrame adds beside the payload.
const maxHeader = 10

func frameOf(m channels.Message) []byte {
	return appendFrame(make([]byte, 0, len(m.Data)+maxHeader), opcode(m), m.Data)
}

func opcode(m channels.Message) byte {
	if m.Text {
		return opText
	}
	return opBinary
}

// closeFrame has no payload if the code is [CloseNoStatus]. A reason that is
// too long is cut at a rune.
func closeFrame(code int, reason string) []byte {
	if code == CloseNoStatus {
		return appendFrame(nil, opClose, nil)
	}
	for len(reason) > maxReason {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reason)), uint16(code))
	return appendFrame(nil, opClose, append(payload, reason...))
}

// unmask is its own inverse. at is how many bytes of the payload came before.
// RFC 6455, 5.3.
func unmask(b []byte, key [4]byte, at int) {
	turned := [4]byte{key[at%4], key[(at+1)%4], key[(at+2)%4], key[(at+3)%4]}
	k32 := binary.LittleEndian.Uint32(turned[:])
	k64 := uint64(k32)<<32 | uint64(k32)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k64)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= turned[i%4]
	}
}
