package channels

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The first bytes of msgpack's forms that are read here.
const (
	mapFix   = 0x80
	mapMax   = 0x8f
	map16    = 0xde
	map32    = 0xdf
	strFix   = 0xa0
	strMax   = 0xbf
	str8     = 0xd9
	nilValue = 0xc0
)

// maxDepth is how deep an event may nest: what msgpack-python packs.
const maxDepth = 512

// scanner walks over msgpack without decoding it, in memory that does not grow
// with what it reads.
type scanner struct {
	b     []byte
	at    int
	plain bool // refuse extensions, which readers in Python do not know
}

func (s *scanner) bad(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrEvent, what, s.at)
}

// take returns the next n bytes.
func (s *scanner) take(n int) ([]byte, error) {
	if n < 0 || n > len(s.b)-s.at {
		return nil, s.bad("it is cut short")
	}
	out := s.b[s.at : s.at+n]
	s.at += n
	return out, nil
}

// length reads a big-endian number of 1, 2 or 4 bytes.
func (s *scanner) length(size int) (int, error) {
	raw, err := s.take(size)
	if err != nil {
		return 0, err
	}
	switch size {
	case 1:
		return int(raw[0]), nil
	case 2:
		return int(binary.BigEndian.Uint16(raw)), nil
	default:
		return int(binary.BigEndian.Uint32(raw)), nil
	}
}

// mapHeader reads the number of entries of a map.
func (s *scanner) mapHeader() (int, error) {
	first, err := s.take(1)
	if err != nil {
		return 0, err
	}
	switch c := first[0]; {
	case c >= mapFix && c <= mapMax:
		return int(c - mapFix), nil
	case c == map16:
		return s.length(2)
	case c == map32:
		return s.length(4)
	}
	return 0, s.bad("it is no map")
}

// text reads a string, or bytes, which old encoders write for one.
func (s *scanner) text() (string, error) {
	first, err := s.take(1)
	if err != nil {
		return "", err
	}
	var n int
	switch c := first[0]; {
	case c >= strFix && c <= strMax:
		n = int(c - strFix)
	case c >= str8 && c <= str8+2:
		n, err = s.length(1 << (c - str8))
	case c >= 0xc4 && c <= 0xc6: // bin
		n, err = s.length(1 << (c - 0xc4))
	default:
		return "", s.bad("it is not text")
	}
	if err != nil {
		return "", err
	}
	return s.utf8(n)
}

// utf8 takes a string of n bytes.
func (s *scanner) utf8(n int) (string, error) {
	raw, err := s.take(n)
	if err == nil && !utf8.Valid(raw) {
		err = s.bad("text is not UTF-8")
	}
	return string(raw), err
}

// values are those that are due at one depth: of a map, keys and values in
// turn.
type values struct {
	left  int
	isMap bool
}

// skip passes over one value.
func (s *scanner) skip() error {
	due := append(make([]values, 0, 8), values{left: 1})
	for len(due) > 0 {
		v := &due[len(due)-1]
		if v.left == 0 {
			due = due[:len(due)-1]
			continue
		}
		v.left--
		if v.isMap && v.left%2 == 1 {
			if _, err := s.text(); err != nil {
				return err
			}
			continue
		}
		inside, err := s.step()
		if err != nil {
			return err
		}
		if inside.left == 0 {
			continue
		}
		if len(due) >= maxDepth {
			return s.bad("it nests too deep")
		}
		due = append(due, inside)
	}
	return nil
}

// step passes over the head of a value and tells what it contains.
func (s *scanner) step() (inside values, err error) {
	first, err := s.take(1)
	if err != nil {
		return values{}, err
	}
	c := first[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3: // small ints, nil, bools
		return values{}, nil
	case c <= mapMax:
		return s.children(int(c-mapFix), true)
	case c <= 0x9f:
		return s.children(int(c-0x90), false)
	case c <= strMax:
		_, err = s.utf8(int(c - strFix))
		return values{}, err
	}
	return s.long(c)
}

// fixed are the sizes of what has one.
var fixed = map[byte]int{
	0xca: 4, 0xcb: 8, // floats
	0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8, // ints
	0xd4: 2, 0xd5: 3, 0xd6: 5, 0xd7: 9, 0xd8: 17, // ext
}

func (s *scanner) long(c byte) (inside values, err error) {
	if s.plain && (c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8) {
		return values{}, s.bad("a value has no form that all read: send a time as text")
	}
	if size, ok := fixed[c]; ok {
		_, err = s.take(size)
		return values{}, err
	}
	var n int
	switch {
	case c >= 0xc4 && c <= 0xc6: // bin
		n, err = s.length(1 << (c - 0xc4))
	case c >= 0xc7 && c <= 0xc9: // ext: its type is one byte more
		n, err = s.length(1 << (c - 0xc7))
		n++
	case c >= str8 && c <= str8+2:
		if n, err = s.length(1 << (c - str8)); err == nil {
			_, err = s.utf8(n)
		}
		return values{}, err
	case c == 0xdc || c == 0xdd: // arrays
		if n, err = s.length(2 << (c - 0xdc)); err == nil {
			return s.children(n, false)
		}
	case c == map16 || c == map32:
		if n, err = s.length(2 << (c - map16)); err == nil {
			return s.children(n, true)
		}
	default:
		return values{}, s.bad("0xc1 is not used")
	}
	if err == nil {
		_, err = s.take(n)
	}
	return values{}, err
}

// children refuses more values than there are bytes for.
func (s *scanner) children(n int, isMap bool) (values, error) {
	if isMap {
		n *= 2
	}
	if n > len(s.b)-s.at {
		return values{}, s.bad("it is cut short")
	}
	return values{n, isMap}, nil
}

func appendMapHeader(dst []byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, mapFix|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, map16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, map32), uint32(n))
}

func appendString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, strFix|byte(n))
	case n < 1<<8:
		dst = append(dst, str8, byte(n))
	default:
		dst = binary.BigEndian.AppendUint16(append(dst, str8+1), uint16(n))
	}
	return append(dst, s...)
}
