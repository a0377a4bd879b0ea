package ws

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzReadClose(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{3})
	f.Add([]byte{3, 0xe8})
	f.Add([]byte("\x0f\xa0bye"))
	f.Add([]byte("\x03\xe8\xff"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > maxControl {
			return // the reader has refused it
		}
		code, reason, err := readClose(payload)
		if bad, ok := failure(err); err != nil {
			if !ok || bad.Code != CloseProtocol && bad.Code != CloseInvalid {
				t.Errorf("%q: %v is no close code's", payload, err)
			}
			return
		}
		frame := closeFrame(code, reason)
		if frame[0] != bitFin|opClose || int(frame[1]) != len(payload) || !bytes.Equal(frame[2:], payload) {
			t.Errorf("%q was read as %d %q, which is written as %q", payload, code, reason, frame)
		}
	})
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte(nil), uint8(15))
	f.Add([]byte("rhubarb rhubarb rhubarb"), uint8(8))
	f.Add(bytes.Repeat([]byte("0123456789"), 1000), uint8(9))
	f.Fuzz(func(t *testing.T, payload []byte, bits uint8) {
		frame, err := deflate(opBinary, payload, int(8+bits%8))
		if err != nil {
			t.Fatal(err)
		}
		if len(payload) > 0 && frame[0] != bitFin|bitRSV1|opBinary {
			t.Errorf("the frame begins with %x", frame[0])
		}
		head := 2
		switch frame[1] {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		got, err := inflate(frame[head:], len(payload))
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%q came back as %q, %v", payload, got, err)
		}
	})
}

// FuzzFrame writes a frame and reads it as a client's would be.
func FuzzFrame(f *testing.F) {
	f.Add(byte(opText), []byte("hello"), uint32(0))
	f.Add(byte(opBinary), bytes.Repeat([]byte{0xff}, 70000), uint32(0xdeadbeef))
	f.Fuzz(func(t *testing.T, op byte, payload []byte, key uint32) {
		op = []byte{opText, opBinary}[op%2]
		plain := appendFrame(nil, op, payload)
		head := len(plain) - len(payload)
		plain[1] |= bitMask
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], key)
		b := append(append(bytes.Clone(plain[:head]), mask[:]...), payload...)
		unmask(b[head+4:], mask, 0)
		r := reader{max: len(payload)}
		m, got, _, err := r.next(&b)
		if bad, ok := failure(err); ok && bad.Code == CloseInvalid && op == opText {
			return
		}
		if err != nil || !got || len(b) != 0 || !bytes.Equal(m.Data, payload) || m.Text != (op == opText) || r.partial() {
			t.Errorf("%q came back as %+v, %v, %v, with %d bytes left", payload, m, got, err, len(b))
		}
	})
}
