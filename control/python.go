package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// failure is an exception as a Python worker would raise it. Its text is the
// exception's repr, which is what a worker answers with.
type failure struct{ kind, text string }

func (f failure) Error() string { return f.kind + "(" + reprText(f.text) + ")" }

// reprOf is the exception that an error of ours answers with.
func reprOf(err error) string {
	if f, ok := err.(failure); ok {
		return f.Error()
	}
	return failure{"RuntimeError", err.Error()}.Error()
}

// reprText is repr(str): CPython, Objects/unicodeobject.c unicode_repr.
func reprText(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b := append(make([]byte, 0, len(s)+2), quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = append(b, string(r)...)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, quote))
}

// reprSet is repr(set). Python's order is that of hashes; ours is sorted.
func reprSet(items []string) string {
	if len(items) == 0 {
		return "set()"
	}
	texts := make([]string, len(items))
	for i, s := range slices.Sorted(slices.Values(items)) {
		texts[i] = reprText(s)
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// maxShown bounds the repr of what a caller sent, in bytes.
const maxShown = 64 << 10

// reprJSON is repr of what Python reads from JSON, in the order it came.
func reprJSON(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	b := appendRepr(nil, d)
	if len(b) > maxShown {
		return strings.ToValidUTF8(string(b[:maxShown]), "") + "..."
	}
	return string(b)
}

// appendRepr writes the next value. Raw values come from a decoder, so they are
// valid and not too deep; an error ends the text.
func appendRepr(b []byte, d *json.Decoder) []byte {
	tok, err := d.Token()
	if err != nil || len(b) > maxShown {
		return b
	}
	switch v := tok.(type) {
	case json.Delim:
		return appendReprItems(b, d, v)
	case string:
		return append(b, reprText(v)...)
	case json.Number:
		return append(b, v...)
	case bool:
		if v {
			return append(b, "True"...)
		}
		return append(b, "False"...)
	}
	return append(b, "None"...)
}

func appendReprItems(b []byte, d *json.Decoder, open json.Delim) []byte {
	b = append(b, byte(open))
	for n := 0; d.More() && len(b) <= maxShown; n++ {
		if n > 0 {
			b = append(b, ", "...)
		}
		b = appendRepr(b, d)
		if open == '{' {
			b = appendRepr(append(b, ": "...), d)
		}
	}
	if tok, err := d.Token(); err == nil {
		if end, ok := tok.(json.Delim); ok {
			b = append(b, byte(end))
		}
	}
	return b
}
