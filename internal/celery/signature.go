package celery

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Signature is a task with arguments and options that can travel inside a
// message. celery/canvas.py Signature.__json__.
type Signature struct {
	Task        string
	Args        []json.RawMessage
	Kwargs      map[string]json.RawMessage
	Options     map[string]json.RawMessage // those of apply_async
	SubtaskType *string
	Immutable   bool
	ChordSize   *int // on a chord's body

	// Extra are fields this version does not know. They travel on.
	Extra map[string]json.RawMessage
}

// Embed is the third part of a body: what follows the task.
type Embed struct {
	Callbacks []Signature
	Errbacks  []Signature
	Chain     []Signature // last step first
	Chord     *Signature
}

// UnmarshalJSON reads Celery's form. A signature without a task name is an
// error; other fields may be missing or null.
func (s *Signature) UnmarshalJSON(data []byte) error {
	data, err := ours(data)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	out, err := readSignature(append([]byte(nil), data...)) // data is the decoder's
	if err == nil {
		*s = out
	}
	return err
}

// readSignature reads valid JSON. The signature keeps parts of raw.
func readSignature(raw []byte) (Signature, error) {
	var s Signature
	err := members(raw, func(key []byte, from, to int) error {
		if err := s.read(key, raw[from:to:to]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err == errNotObject:
		err = errors.New("a signature is a JSON object")
	case err == nil && s.Task == "":
		err = errors.New("signature: the task name is missing")
	case err != nil:
		err = fmt.Errorf("signature: %w", err)
	}
	return s, err
}

func (s *Signature) read(key []byte, v json.RawMessage) (err error) {
	if null(v) && s.known(key) {
		return nil
	}
	switch string(key) {
	case "task":
		s.Task, err = text(v)
	case "args":
		s.Args, err = elements(v)
	case "kwargs":
		s.Kwargs, err = object(v)
	case "options":
		s.Options, err = object(v)
	case "subtask_type":
		var kind string
		kind, err = text(v)
		s.SubtaskType = &kind
	case "immutable":
		s.Immutable, err = boolean(string(v))
	case "chord_size":
		n := 0
		n, err = whole(string(v))
		s.ChordSize = &n
	default:
		if s.Extra == nil {
			s.Extra = map[string]json.RawMessage{}
		}
		s.Extra[string(key)] = v
	}
	return err
}

func (*Signature) known(key []byte) bool {
	switch string(key) {
	case "task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size":
		return true
	}
	return false
}

// MarshalJSON writes Celery's form. NaN and the infinities among the arguments
// stay in this package's form, since encoding/json refuses them bare; [Bare]
// makes them Python's.
func (s Signature) MarshalJSON() ([]byte, error) { return fromPeer(s.append(nil)) }

// append writes the signature for Python.
func (s *Signature) append(b []byte) []byte {
	b = appendString(append(b, `{"task":`...), s.Task)
	b = appendList(append(b, `,"args":`...), s.Args)
	b = appendObject(append(b, `,"kwargs":`...), s.Kwargs)
	b = appendObject(append(b, `,"options":`...), s.Options)
	b = append(b, `,"subtask_type":`...)
	if s.SubtaskType != nil {
		b = appendString(b, *s.SubtaskType)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"immutable":`...)
	if s.Immutable {
		b = append(b, "true"...)
	} else {
		b = append(b, "false"...)
	}
	if s.ChordSize != nil {
		b = appendInt(append(b, `,"chord_size":`...), s.ChordSize)
	}
	return append(appendMembers(b, s.Extra), '}')
}

func (e *Embed) append(b []byte) []byte {
	if len(e.Callbacks)+len(e.Errbacks)+len(e.Chain) == 0 && e.Chord == nil {
		return append(b, oursNothing...)
	}
	b = appendSignatures(append(b, `{"callbacks":`...), e.Callbacks)
	b = appendSignatures(append(b, `,"errbacks":`...), e.Errbacks)
	b = appendSignatures(append(b, `,"chain":`...), e.Chain)
	b = append(b, `,"chord":`...)
	if e.Chord != nil {
		b = e.Chord.append(b)
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}')
}

// appendSignatures writes null for none, as Celery does.
func appendSignatures(b []byte, list []Signature) []byte {
	if len(list) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = list[i].append(b)
	}
	return append(b, ']')
}

// What most tasks have, as Celery writes it and as we do.
const (
	pythonsNothing = `{"callbacks": null, "errbacks": null, "chain": null, "chord": null}`
	oursNothing    = `{"callbacks":null,"errbacks":null,"chain":null,"chord":null}`
)

// read reads valid JSON. Missing and null fields are none; unknown ones are
// passed over, as Celery does.
func (e *Embed) read(raw []byte) error {
	if string(raw) == pythonsNothing || string(raw) == oursNothing {
		return nil
	}
	return members(raw, func(key []byte, from, to int) error {
		if err := e.readField(key, raw[from:to:to]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

func (e *Embed) readField(key []byte, v json.RawMessage) (err error) {
	if null(v) {
		return nil
	}
	switch string(key) {
	case "callbacks":
		e.Callbacks, err = readSignatures(v)
	case "errbacks":
		e.Errbacks, err = readSignatures(v)
	case "chain":
		e.Chain, err = readSignatures(v)
	case "chord":
		var s Signature
		s, err = readSignature(v)
		e.Chord = &s
	}
	return err
}

// readSignatures reads a list, or one signature alone. celery/utils/functional.py maybe_list.
func readSignatures(raw json.RawMessage) ([]Signature, error) {
	if len(raw) > 0 && raw[0] == '{' {
		s, err := readSignature(raw)
		return []Signature{s}, err
	}
	list, err := elements(raw)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	out := make([]Signature, len(list))
	for i, r := range list {
		if out[i], err = readSignature(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}
