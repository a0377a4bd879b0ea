package channels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSONEvent makes an event of a JSON object's fields, for those who have no
// struct: HTTP and the command line. Whole numbers stay whole.
func JSONEvent(typ string, object []byte) (Event, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return Event{}, fmt.Errorf("event %s: %w: its fields are no JSON object: %w", typ, ErrEvent, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Event{}, fmt.Errorf("event %s: %w: something follows the JSON object", typ, ErrEvent)
	}
	for k, v := range fields {
		n, err := number(v)
		if err != nil {
			return Event{}, fmt.Errorf("event %s: %w: field %s: %w", typ, ErrEvent, k, err)
		}
		fields[k] = n
	}
	return NewEvent(typ, fields)
}

// number replaces JSON's numbers in a value by whole ones where they are.
func number(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case []any:
		for i := range v {
			if v[i], err = number(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = number(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// JSON writes the event as a JSON object, type and all; bytes are base64. What
// JSON has no form for, such as infinity, is an error.
func (e Event) JSON() ([]byte, error) {
	var fields map[string]any
	if err := e.Decode(&fields); err != nil {
		return nil, err
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.Type, err)
	}
	return out, nil
}
