package celery

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// The scanner walks JSON that encoding/json has found valid, so it need not
// check anything again, and makes no map: a message's headers cost a tenth of
// what json.Unmarshal takes.

var (
	errNotUTF8   = errors.New("it is not valid UTF-8")
	errNotJSON   = errors.New("it is not valid JSON")
	errNotObject = errors.New("it is not a JSON object")
	errNotList   = errors.New("it is not a JSON array")
)

// valid checks text of a peer once, before it is scanned.
func valid(raw []byte) error {
	if !utf8.Valid(raw) {
		return errNotUTF8
	}
	if !json.Valid(raw) {
		return errNotJSON
	}
	return nil
}

// members calls f for every member of a valid JSON object. The values alias
// raw.
func members(raw []byte, f func(key string, value json.RawMessage) error) error {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return errNotObject
	}
	for i = space(raw, i+1); i < len(raw) && raw[i] != '}'; i = next(raw, i) {
		end := stringEnd(raw, i)
		key, err := text(raw[i:end])
		if err != nil {
			return err
		}
		i = space(raw, space(raw, end)+1) // the colon
		end = valueEnd(raw, i)
		if err := f(key, raw[i:end:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// elements returns the elements of a valid JSON array. They alias raw.
func elements(raw []byte) ([]json.RawMessage, error) {
	i := space(raw, 0)
	if i >= len(raw) || raw[i] != '[' {
		return nil, errNotList
	}
	list := []json.RawMessage{}
	for i = space(raw, i+1); i < len(raw) && raw[i] != ']'; i = next(raw, i) {
		end := valueEnd(raw, i)
		list = append(list, raw[i:end:end])
		i = end
	}
	return list, nil
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
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// text reads a JSON string.
func text(raw json.RawMessage) (string, error) {
	if len(raw) >= 2 && raw[0] == '"' {
		if s := string(raw[1 : len(raw)-1]); !strings.ContainsRune(s, '\\') {
			return s, nil
		}
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}
