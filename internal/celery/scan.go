package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/rhubarb-go/rhubarb/engine"
)

// The scanner walks JSON that fromPeer has found valid, so it need not check
// anything again, and makes no map: a message's headers cost a tenth of what
// json.Unmarshal takes. Of invalid text it makes no sense, but no panic.

var (
	errNotObject = errors.New("it is not a JSON object")
	errNotList   = errors.New("it is not a JSON array")
	errNotText   = errors.New("it is not a string")
	errNotWhole  = errors.New("it is not a whole number")
	errNotBool   = errors.New("it is neither true nor false")
)

// members calls f for every member of a valid JSON object, in order. The value
// is raw[from:to]. The key must not be kept.
func members(raw []byte, f func(key []byte, from, to int) error) error {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return errNotObject
	}
	n := 0
	for i = space(raw, i+1); i < len(raw) && raw[i] != '}'; i = next(raw, i) {
		if n++; n > maxParts {
			return errTooMany
		}
		end := stringEnd(raw, i)
		key, err := keyOf(raw[i:end])
		if err != nil {
			return err
		}
		i = min(space(raw, space(raw, end)+1), len(raw)) // the colon
		end = valueEnd(raw, i)
		if err := f(key, i, end); err != nil {
			return err
		}
		i = end
	}
	return nil
}

func keyOf(literal []byte) ([]byte, error) {
	key := literal[min(1, len(literal)):max(1, len(literal)-1)]
	if !escaped(key) {
		return key, nil
	}
	s, err := text(literal)
	return []byte(s), err
}

// maxParts bounds lists and objects that are taken apart: two bytes of a
// peer's become an element of 24, and more for a member.
const maxParts = 1 << 16

var errTooMany = fmt.Errorf("it has more than %d parts: %w", maxParts, engine.ErrLimit)

// elements returns the elements of a valid JSON array, never nil. They alias
// raw.
func elements(raw []byte) ([]json.RawMessage, error) {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != '[' {
		return nil, errNotList
	}
	if i = space(raw, i+1); i < len(raw) && raw[i] == ']' {
		return []json.RawMessage{}, nil
	}
	list := make([]json.RawMessage, 0, 4)
	for ; i < len(raw) && raw[i] != ']'; i = next(raw, i) {
		if len(list) == maxParts {
			return nil, errTooMany
		}
		end := valueEnd(raw, i)
		list = append(list, raw[i:end:end])
		i = end
	}
	return list, nil
}

// object returns the members of a valid JSON object by name; nil if it has
// none. Of two with one name the last counts, as in Python.
func object(raw []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	err := members(raw, func(key []byte, from, to int) error {
		if m == nil {
			m = make(map[string]json.RawMessage, 4)
		}
		m[string(key)] = raw[from:to:to]
		return nil
	})
	return m, err
}

// next goes over the comma behind a value.
func next(raw []byte, i int) int {
	if i = space(raw, i); i < len(raw) && raw[i] == ',' {
		return space(raw, i+1)
	}
	return i
}

func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

func valueEnd(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // a number or word that ends its container
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// stringEnd returns the index behind the string that begins at i.
func stringEnd(b []byte, i int) int {
	i = min(i+1, len(b))
	end := bytes.IndexByte(b[i:], '"')
	if end < 0 {
		return len(b)
	}
	if end == 0 || b[i+end-1] != '\\' { // most strings
		return i + end + 1
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// plainRun returns the index of the first byte from i on that a JSON string
// cannot hold as it is (quote, backslash, control) or that is in the given
// mask. It looks at eight bytes at once.
func plainRun[S ~string | ~[]byte](s S, i int, mask uint64) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// A byte's top bit is set where it was zero, or below a space.
		stop := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x | x&mask) & tops
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || uint64(c)&mask != 0 {
			return i
		}
	}
	return i
}

// nonASCII is a mask for plainRun.
const nonASCII = 0x8080808080808080

func escaped[S ~string | ~[]byte](s S) bool {
	for i := range len(s) {
		if s[i] == '\\' {
			return true
		}
	}
	return false
}

func null[S ~string | ~[]byte](raw S) bool { return string(raw) == "null" }

// text reads a JSON string. It is a part of raw where nothing is escaped.
func text[S ~string | ~[]byte](raw S) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", errNotText
	}
	if inner := raw[1 : len(raw)-1]; !escaped(inner) {
		return string(inner), nil
	}
	var s string
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		return "", errNotText
	}
	return s, nil
}

// optional reads a string or null.
func optional[S ~string | ~[]byte](raw S) (string, error) {
	if null(raw) {
		return "", nil
	}
	return text(raw)
}

func whole(raw string) (int, error) {
	n, err := strconv.Atoi(raw)
	if err != nil {
		return 0, errNotWhole
	}
	return n, nil
}

func boolean(raw string) (bool, error) {
	switch raw {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errNotBool
}

// texts reads a list of strings.
func texts(raw []byte) ([]string, error) {
	list, err := elements(raw)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i, r := range list {
		if out[i], err = text(r); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return out, nil
}
