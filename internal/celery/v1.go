package celery

import (
	"encoding/json"
	"errors"
	"fmt"
)

// decodeV1 reads protocol 1: everything in the body as one map.
// celery/worker/strategy.py proto1_to_proto2.
func decodeV1(t *Task) (*Task, error) {
	body, err := t.plainBody()
	if err != nil {
		var unsupported *UnsupportedError
		if errors.As(err, &unsupported) {
			return nil, err
		}
		return nil, notV1(errors.Unwrap(err))
	}
	m, err := object(body)
	if err != nil {
		return nil, notV1(err)
	}
	for _, k := range []string{"task", "id", "retries", "eta", "expires", "group", "group_index", "timelimit", "root_id", "parent_id"} {
		if raw, ok := m[k]; ok && !null(raw) {
			if _, err := t.readHeader([]byte(k), string(raw)); err != nil {
				return nil, &FieldError{"body " + k, err}
			}
		}
	}
	// The group's name of old.
	if raw, ok := m["taskset"]; ok && !null(raw) {
		if t.Group, err = text(raw); err != nil {
			return nil, &FieldError{"body taskset", err}
		}
	}
	if t.Name == "" || t.ID == "" {
		return nil, &FieldError{"body", errors.New("there is no header task, and protocol 1 needs task and id")}
	}
	if err := t.readV1Body(m); err != nil {
		return nil, err
	}
	if t.CorrelationID == t.ID {
		t.CorrelationID = ""
	}
	t.pending, t.body, t.Compression = false, nil, ""
	return t, nil
}

func notV1(err error) error {
	return &FieldError{"body", fmt.Errorf("there is no header task, and it is no message of protocol 1 either: %w", err)}
}

func (t *Task) readV1Body(m map[string]json.RawMessage) (err error) {
	t.Args = []json.RawMessage{}
	if raw, ok := m["args"]; ok && !null(raw) {
		if t.Args, err = elements(raw); err != nil {
			return &FieldError{"body args", err}
		}
	}
	if raw, ok := m["kwargs"]; ok && !null(raw) {
		if t.Kwargs, err = object(raw); err != nil {
			return &FieldError{"body kwargs", err}
		}
	}
	for _, k := range []string{"callbacks", "errbacks", "chord"} {
		if raw, ok := m[k]; ok {
			if err := t.Embed.readField([]byte(k), raw); err != nil {
				return &FieldError{"body " + k, err}
			}
		}
	}
	return nil
}
