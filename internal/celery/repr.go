package celery

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Limits of Repr, those of Celery: maxRepr characters and maxReprDepth levels.
// celery/app/amqp.py argsrepr_maxsize, celery/utils/saferepr.py.
const (
	maxRepr      = 1024
	maxReprDepth = 3
)

// Repr writes arguments as Python would show them, for people and monitors:
// "(2, 3)" and "{'to': 'a'}", each at most about 1,024 characters long and
// three levels deep. It is not meant to be read back. Raw values that are not
// JSON are shown as they are.
func Repr(args []json.RawMessage, kwargs map[string]json.RawMessage) (argsRepr, kwargsRepr string) {
	return reprArgs(args), reprKwargs(kwargs)
}

// ReprValue writes one value in that way.
func ReprValue(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "None"
	}
	r := repr{b: make([]byte, 0, 64)}
	r.value(raw, 1)
	return string(r.b)
}

func reprArgs(args []json.RawMessage) string {
	if len(args) == 0 {
		return "()"
	}
	r := repr{b: make([]byte, 0, 64)}
	r.b = append(r.b, '(')
	for i, raw := range args {
		if i > 0 {
			r.b = append(r.b, ", "...)
		}
		if r.full() {
			break
		}
		r.value(raw, 1)
	}
	if len(args) == 1 {
		r.b = append(r.b, ',')
	}
	return string(append(r.b, ')'))
}

func reprKwargs(kwargs map[string]json.RawMessage) string {
	if len(kwargs) == 0 {
		return "{}"
	}
	r := repr{b: make([]byte, 0, 64)}
	r.b = append(r.b, '{')
	for i, k := range sortedKeys(kwargs) {
		if i > 0 {
			r.b = append(r.b, ", "...)
		}
		if r.full() {
			break
		}
		r.quoted(k)
		r.b = append(r.b, ": "...)
		r.value(kwargs[k], 1)
	}
	return string(append(r.b, '}'))
}

// repr writes Python's forms until it is full.
type repr struct {
	b   []byte
	cut bool
}

// full reports whether there is no room; the first time it says so in the text.
func (r *repr) full() bool {
	if len(r.b) < maxRepr {
		return false
	}
	if !r.cut {
		r.b, r.cut = append(r.b, "..."...), true
	}
	return true
}

func (r *repr) value(raw []byte, depth int) {
	raw = raw[space(raw, 0):]
	if len(raw) == 0 || r.full() {
		return
	}
	switch raw[0] {
	case '[':
		r.list(raw, depth)
	case '{':
		r.dict(raw, depth)
	case '"':
		r.text(raw)
	case 't':
		r.b = append(r.b, "True"...)
	case 'f':
		r.b = append(r.b, "False"...)
	case 'n':
		r.b = append(r.b, "None"...)
	case 'N':
		r.b = append(r.b, "nan"...)
	case 'I':
		r.b = append(r.b, "inf"...)
	default:
		r.clip(strings.Replace(string(raw[:min(len(raw), maxRepr)]), "Infinity", "inf", 1))
	}
}

// clip writes text as far as there is room.
func (r *repr) clip(s string) {
	room := maxRepr - len(r.b)
	if room < 0 {
		room = 0
	}
	if len(s) <= room {
		r.b = append(r.b, s...)
		return
	}
	for room > 0 && !utf8.RuneStart(s[room]) {
		room--
	}
	r.b, r.cut = append(append(r.b, s[:room]...), "..."...), true
}

// quoted writes a string in single quotes, unescaped: celery/utils/saferepr.py
// _format_chars.
func (r *repr) quoted(s string) {
	r.b = append(r.b, '\'')
	r.clip(s)
	r.b = append(r.b, '\'')
}

func (r *repr) text(raw []byte) {
	switch marked(raw) {
	case "NaN":
		r.b = append(r.b, "nan"...)
		return
	case "Infinity":
		r.b = append(r.b, "inf"...)
		return
	case "-Infinity":
		r.b = append(r.b, "-inf"...)
		return
	}
	s, err := text(raw)
	if err != nil {
		s = string(raw)
	}
	r.quoted(s)
}

func (r *repr) list(raw []byte, depth int) {
	if depth >= maxReprDepth {
		r.b = append(r.b, "[...]"...)
		return
	}
	r.b = append(r.b, '[')
	i := space(raw, 1)
	for n := 0; i < len(raw) && raw[i] != ']'; n++ {
		if n > 0 {
			r.b = append(r.b, ", "...)
		}
		if r.full() {
			break
		}
		end := valueEnd(raw, i)
		r.value(raw[i:end], depth+1)
		i = next(raw, max(end, i+1))
	}
	r.b = append(r.b, ']')
}

func (r *repr) dict(raw []byte, depth int) {
	if r.special(raw) {
		return
	}
	if depth >= maxReprDepth {
		r.b = append(r.b, "{...}"...)
		return
	}
	n := 0
	r.b = append(r.b, '{')
	_ = members(raw, func(key []byte, from, to int) error { // it is an object
		if n++; n > 1 {
			r.b = append(r.b, ", "...)
		}
		if r.full() {
			return errTooDeep // any error ends it
		}
		r.quoted(string(key))
		r.b = append(r.b, ": "...)
		r.value(raw[from:to], depth+1)
		return nil
	})
	r.b = append(r.b, '}')
}

// special shows kombu's special types as Python's constructors do.
func (r *repr) special(raw []byte) bool {
	if len(raw) < 12 || string(raw[1:11]) != `"__type__"` {
		return false
	}
	m, err := object(raw)
	if err != nil || len(m) != 2 {
		return false
	}
	kind, err := text(m["__type__"])
	if err != nil {
		return false
	}
	s, known, err := plainText(kind, m["__value__"], "Z")
	if err != nil || !known {
		return false
	}
	switch kind {
	case typeDateTime:
		r.clip("datetime.datetime(" + strings.TrimSuffix(strings.Replace(s, "T", " ", 1), "Z") + ")")
	case typeDate, typeTime:
		r.clip("datetime." + kind + "(" + s + ")")
	case typeDecimal:
		r.clip("Decimal('" + s + "')")
	case typeUUID:
		r.clip("UUID('" + s + "')")
	default:
		r.clip("b'...'")
	}
	return true
}
