package celery

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Exception is how a failure is written in a result.
// celery/backends/base.py prepare_exception.
type Exception struct {
	Type   string            // "ValueError"
	Args   []json.RawMessage // the exception's arguments; the first is its message
	Module string            // "builtins"
}

// With returns the exception with arguments. A value that cannot be encoded
// is written as text.
func (x Exception) With(args ...any) Exception {
	x.Args = make([]json.RawMessage, len(args))
	for i, a := range args {
		raw, err := Marshal(a)
		if err != nil {
			raw = appendString(nil, fmt.Sprint(a))
		}
		x.Args[i] = raw
	}
	return x
}

// JSON writes the exception as a result's value.
func (x Exception) JSON() json.RawMessage {
	b := appendString([]byte(`{"exc_type":`), x.Type)
	b = appendList(append(b, `,"exc_message":`...), x.Args)
	b = appendString(append(b, `,"exc_module":`...), x.Module)
	return append(b, '}')
}

// Text is the exception's message for people: its arguments, strings as they
// are and the rest as JSON.
func (x Exception) Text() string {
	parts := make([]string, len(x.Args))
	for i, raw := range x.Args {
		if s, err := text(raw); err == nil && marked(raw) == "" {
			parts[i] = s
		} else {
			parts[i] = string(Bare(raw))
		}
	}
	return strings.Join(parts, ", ")
}

// ExceptionOf reads a result's value as an exception; false if it is none. Its
// message may be a list of arguments or, from old workers, one value, and its
// module may be missing.
func ExceptionOf(raw json.RawMessage) (Exception, bool) {
	data, err := ours(raw)
	if err != nil {
		return Exception{}, false
	}
	m, err := object(data)
	if err != nil {
		return Exception{}, false
	}
	var x Exception
	if x.Type, err = text(m["exc_type"]); err != nil || x.Type == "" {
		return Exception{}, false
	}
	if v, ok := m["exc_module"]; ok {
		if x.Module, err = optional(v); err != nil {
			return Exception{}, false
		}
	}
	if v, ok := m["exc_message"]; ok && !null(v) {
		if x.Args, err = elements(v); err != nil {
			x.Args = []json.RawMessage{v}
		}
	}
	return x, true
}
