package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Result is the record of a task's state. celery/backends/base.py
// _get_result_meta.
type Result struct {
	Status    string
	Result    json.RawMessage // nil is null
	Traceback *string
	Children  json.RawMessage // nil is []
	DateDone  time.Time       // only in ready states
	TaskID    string
	GroupID   string
	ParentID  string

	// Extra are all other fields: those of result_extended and stamps.
	Extra map[string]json.RawMessage
}

// Append writes the record as JSON.
func (r *Result) Append(b []byte) []byte {
	b = appendString(append(b, `{"status":`...), r.Status)
	b = appendRaw(append(b, `,"result":`...), unbare(r.Result), "null")
	b = append(b, `,"traceback":`...)
	if r.Traceback != nil {
		b = appendString(b, *r.Traceback)
	} else {
		b = append(b, "null"...)
	}
	b = appendRaw(append(b, `,"children":`...), r.Children, "[]")
	b = appendTime(append(b, `,"date_done":`...), r.DateDone)
	if r.GroupID != "" {
		b = appendString(append(b, `,"group_id":`...), r.GroupID)
	}
	if r.ParentID != "" {
		b = appendString(append(b, `,"parent_id":`...), r.ParentID)
	}
	for _, k := range sortedKeys(r.Extra) {
		b = append(append(appendString(append(b, ','), k), ':'), r.Extra[k]...)
	}
	b = appendString(append(b, `,"task_id":`...), r.TaskID)
	return append(b, '}')
}

func appendRaw(b []byte, raw json.RawMessage, none string) []byte {
	if len(raw) == 0 {
		return append(b, none...)
	}
	return append(b, raw...)
}

// DecodeResult reads a record.
func DecodeResult(data []byte) (*Result, error) {
	data = python(data)
	if err := valid(data); err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	r := &Result{}
	err := members(data, func(k string, raw json.RawMessage) error {
		if err := r.read(k, raw); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		return nil
	})
	if err == nil && r.Status == "" {
		err = errors.New("the status is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return r, nil
}

func (r *Result) read(k string, raw json.RawMessage) (err error) {
	null := string(raw) == "null"
	switch k {
	case "result":
		r.Result = raw
	case "children":
		r.Children = raw
	case "status":
		r.Status, err = text(raw)
	case "task_id":
		r.TaskID, err = optional(raw)
	case "group_id":
		r.GroupID, err = optional(raw)
	case "parent_id":
		r.ParentID, err = optional(raw)
	case "traceback":
		if !null {
			var s string
			s, err = text(raw)
			r.Traceback = &s
		}
	case "date_done":
		if !null {
			r.DateDone, err = readTime(raw)
		}
	default:
		if r.Extra == nil {
			r.Extra = map[string]json.RawMessage{}
		}
		r.Extra[k] = raw
	}
	return err
}

// optional reads a string or null.
func optional(raw json.RawMessage) (string, error) {
	if string(raw) == "null" {
		return "", nil
	}
	return text(raw)
}

// Exception is how a failure is written in a result.
// celery/backends/base.py prepare_exception.
type Exception struct {
	Type   string
	Args   []json.RawMessage // the exception's arguments
	Module string
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
	b = append(b, `,"exc_message":[`...)
	b = append(b, bytes.Join(asBytes(x.Args), []byte{','})...)
	b = appendString(append(b, `],"exc_module":`...), x.Module)
	return append(b, '}')
}

func asBytes(raws []json.RawMessage) [][]byte {
	out := make([][]byte, len(raws))
	for i, r := range raws {
		out[i] = r
	}
	return out
}

// Text is the exception's message for people.
func (x Exception) Text() string {
	parts := make([]string, len(x.Args))
	for i, raw := range x.Args {
		if json.Unmarshal(raw, &parts[i]) != nil {
			parts[i] = string(raw)
		}
	}
	return strings.Join(parts, ", ")
}

// ExceptionOf reads a result's value as an exception. Its message may be a
// list of arguments or, from old workers, one string.
func ExceptionOf(raw json.RawMessage) (Exception, bool) {
	var w struct {
		Type    string          `json:"exc_type"`
		Message json.RawMessage `json:"exc_message"`
		Module  *string         `json:"exc_module"`
	}
	if json.Unmarshal(raw, &w) != nil || w.Type == "" {
		return Exception{}, false
	}
	x := Exception{Type: w.Type}
	if w.Module != nil {
		x.Module = *w.Module
	}
	if json.Unmarshal(w.Message, &x.Args) != nil && len(w.Message) > 0 {
		x.Args = []json.RawMessage{w.Message}
	}
	return x, true
}

// bareMark stands before a word that Python wrote bare, so that it can be told
// from a string and written bare again.
const bareMark = `"\u0000`

// unbare undoes python, for a value that goes to Python again.
func unbare(raw []byte) []byte {
	if !bytes.Contains(raw, []byte(bareMark)) {
		return raw
	}
	for _, w := range bareWords {
		raw = bytes.ReplaceAll(raw, []byte(bareMark+w+`"`), []byte(w))
	}
	return raw
}

// python makes JSON of what Python writes bare: NaN and the infinities become
// strings with a mark.
func python(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("NaN")) && !bytes.Contains(raw, []byte("Infinity")) {
		return raw
	}
	out := make([]byte, 0, len(raw)+16)
	for i := 0; i < len(raw); {
		if raw[i] == '"' {
			end := stringEnd(raw, i)
			out = append(out, raw[i:end]...)
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

var bareWords = [...]string{"NaN", "Infinity", "-Infinity"}

func bareWord(b []byte) string {
	for _, w := range bareWords {
		if bytes.HasPrefix(b, []byte(w)) {
			return w
		}
	}
	return ""
}
