package celery

import (
	"bytes"
	"encoding/json"
)

// Python writes NaN and the infinities bare, and JSON has no such words. On
// the way in they become strings with a mark, so that every raw value of this
// package is JSON for everyone, and on the way out they are bare again.

// bareMark begins a string that stands for a bare word.
const bareMark = `"\u0000`

var bareWords = [...]string{"NaN", "Infinity", "-Infinity"}

func bareWord(b []byte) string {
	for _, w := range bareWords {
		if bytes.HasPrefix(b, []byte(w)) {
			return w
		}
	}
	return ""
}

// marked returns the word that the string literal s stands for, or "".
func marked(s []byte) string {
	if len(s) < len(bareMark)+4 || string(s[:len(bareMark)]) != bareMark {
		return ""
	}
	for _, w := range bareWords {
		if string(s[len(bareMark):len(s)-1]) == w {
			return w
		}
	}
	return ""
}

// mark marks the bare words of valid text and writes its strings with the
// function.
func mark(raw []byte, str func(b, s []byte) []byte) []byte {
	out := make([]byte, 0, len(raw)+32)
	for i := 0; i < len(raw); {
		if raw[i] == '"' {
			end := stringEnd(raw, i)
			out = str(out, raw[i:end])
			i = end
			continue
		}
		word := bareWord(raw[i:])
		if word == "" {
			out = append(out, raw[i])
			i++
			continue
		}
		out = append(append(append(out, bareMark...), word...), '"')
		i += len(word)
	}
	return out
}

// appendUnlike writes a string literal in a way that is no mark, so that it
// stays what it is.
func appendUnlike(b, s []byte) []byte {
	w := marked(s)
	if w == "" {
		return append(b, s...)
	}
	const hexDigits = "0123456789abcdef"
	b = append(append(b, bareMark...), `\u00`...)
	b = append(b, hexDigits[w[0]>>4], hexDigits[w[0]&15])
	return append(append(b, w[1:]...), '"')
}

// Bare writes a raw value of this package as Python does: NaN and the
// infinities bare. A value without any comes back as it is.
func Bare(raw json.RawMessage) json.RawMessage {
	return remark(raw, func(b []byte, w string) []byte { return append(b, w...) })
}

// named writes NaN and the infinities as ordinary strings.
func named(raw json.RawMessage) json.RawMessage {
	return remark(raw, func(b []byte, w string) []byte { return append(append(append(b, '"'), w...), '"') })
}

// remark replaces the marked strings of a value.
func remark(raw []byte, write func(b []byte, word string) []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 || !bytes.Contains(raw, []byte(bareMark)) {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			out = append(out, raw[i])
			i++
			continue
		}
		end := stringEnd(raw, i)
		if w := marked(raw[i:end]); w != "" {
			out = write(out, w)
		} else {
			out = append(out, raw[i:end]...)
		}
		i = end
	}
	return out
}
