package celery

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendObject writes members in the order of their names. A nil map is {}.
func appendObject(b []byte, m map[string]json.RawMessage) []byte {
	b = append(b, '{')
	n := len(b)
	b = appendMembers(b, m)
	if len(b) > n { // over the first comma
		b = append(b[:n], b[n+1:]...)
	}
	return append(b, '}')
}

// appendMembers writes each member with a comma in front.
func appendMembers(b []byte, m map[string]json.RawMessage) []byte {
	if len(m) == 1 {
		for k, v := range m {
			return appendMember(b, k, v)
		}
	}
	for _, k := range sortedKeys(m) {
		b = appendMember(b, k, m[k])
	}
	return b
}

func appendMember(b []byte, k string, v json.RawMessage) []byte {
	b = append(appendString(append(b, ','), k), ':')
	return appendRaw(b, v, "null")
}

func sortedKeys(m map[string]json.RawMessage) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// appendRaw writes a value for Python; an empty one as none.
func appendRaw(b []byte, raw json.RawMessage, none string) []byte {
	if len(raw) == 0 {
		return append(b, none...)
	}
	return append(b, Bare(raw)...)
}

// appendList writes values for Python.
func appendList(b []byte, list []json.RawMessage) []byte {
	b = append(b, '[')
	for i, raw := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendRaw(b, raw, "null")
	}
	return append(b, ']')
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString writes a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	from := len(b)
	b = append(b, '"')
	for i := 0; ; {
		end := plainRun(s, i, nonASCII)
		b = append(b, s[i:end]...)
		if end == len(s) {
			break
		}
		i = end + 1
		if c := s[end]; c < utf8.RuneSelf {
			b = appendEscaped(b, c)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[end:])
		b, i = utf8.AppendRune(b, r), end+size
	}
	if len(s) > 3 && s[0] == 0 && bareWord([]byte(s[1:])) == s[1:] {
		return appendUnlike(b[:from], []byte(bareMark+s[1:]+`"`)) // see bare.go
	}
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	const hexDigits = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = appendISO(b, t.UTC(), false)
	return append(b, '"')
}

func appendSeconds(b []byte, d time.Duration) []byte {
	if d <= 0 {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, d.Seconds(), 'f', -1, 64)
}

func appendInt(b []byte, n *int) []byte {
	if n == nil {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(*n), 10)
}
