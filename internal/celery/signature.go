package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Signature is a task with arguments and options that can travel inside a
// message. celery/canvas.py Signature.__json__.
type Signature struct {
	Task        string                     `json:"task"`
	Args        []json.RawMessage          `json:"args"`
	Kwargs      map[string]json.RawMessage `json:"kwargs"`
	Options     map[string]json.RawMessage `json:"options"`
	SubtaskType *string                    `json:"subtask_type"`
	Immutable   bool                       `json:"immutable"`
	ChordSize   *int                       `json:"chord_size,omitempty"`

	// Extra are fields this version does not know. They travel on.
	Extra map[string]json.RawMessage `json:"-"`
}

// Embed is the third part of a body: what follows the task.
type Embed struct {
	Callbacks []Signature
	Errbacks  []Signature
	Chain     []Signature // last step first
	Chord     *Signature
}

var signatureFields = map[string]bool{
	"task": true, "args": true, "kwargs": true, "options": true,
	"subtask_type": true, "immutable": true, "chord_size": true,
}

// UnmarshalJSON reads Celery's form. A signature without a task name is an
// error.
func (s *Signature) UnmarshalJSON(data []byte) error {
	if t := bytes.TrimSpace(data); len(t) == 0 || t[0] != '{' {
		return errors.New("a signature is a JSON object")
	}
	type plain Signature
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	if p.Task == "" {
		return errors.New("signature: the task name is missing")
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	for k, v := range all {
		if !signatureFields[k] {
			if p.Extra == nil {
				p.Extra = map[string]json.RawMessage{}
			}
			p.Extra[k] = v
		}
	}
	*s = Signature(p)
	return nil
}

// MarshalJSON writes Celery's form.
func (s Signature) MarshalJSON() ([]byte, error) {
	if s.Args == nil {
		s.Args = []json.RawMessage{}
	}
	if s.Kwargs == nil {
		s.Kwargs = map[string]json.RawMessage{}
	}
	if s.Options == nil {
		s.Options = map[string]json.RawMessage{}
	}
	type plain Signature
	out, err := json.Marshal(plain(s))
	if err != nil || len(s.Extra) == 0 {
		return out, err
	}
	extra, err := json.Marshal(s.Extra)
	if err != nil {
		return nil, err
	}
	return append(append(out[:len(out)-1], ','), extra[1:]...), nil
}
