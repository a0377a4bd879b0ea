package celery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// FieldError names the part of a message that cannot be read.
type FieldError struct {
	Field string // a header's name, or "body", "headers", "properties"
	Err   error
}

func (e *FieldError) Error() string { return "message " + e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// UnsupportedError is a content type or compression that is refused by name.
type UnsupportedError struct {
	What string // "content type" or "compression"
	Name string
	Why  string
}

func (e *UnsupportedError) Error() string {
	text := fmt.Sprintf("message %s %s is not supported", e.What, e.Name)
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// Decode reads a message of protocol 2 or 1. The body is read by
// [Task.DecodeBody], for protocol 1 at once.
func Decode(m engine.Message, lim Limits) (*Task, error) {
	if err := checkContentType(m.ContentType); err != nil {
		return nil, err
	}
	t := &Task{ID: m.ID, body: m.Body, limits: lim}
	if err := t.readHeaders(m.Headers); err != nil {
		return nil, err
	}
	if t.Name == "" {
		// celery/worker/consumer/consumer.py: "task" in the headers makes it protocol 2.
		return decodeV1(t)
	}
	if t.ID == "" {
		return nil, &FieldError{"header id", errors.New("it is missing")}
	}
	if err := t.readProperties(m.Properties); err != nil {
		return nil, err
	}
	return t, nil
}

func checkContentType(ct string) error {
	switch base, _, _ := strings.Cut(ct, ";"); strings.TrimSpace(base) {
	case "", "application/json":
		return nil
	case "application/x-python-serialize":
		return &UnsupportedError{"content type", ct, "it is pickle, which can run code of the sender's: set task_serializer to json"}
	case "application/x-yaml", "application/x-msgpack", "application/data":
		return &UnsupportedError{"content type", ct, "set task_serializer to json"}
	}
	return &UnsupportedError{What: "content type", Name: ct}
}

func (t *Task) readHeaders(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	if err := valid(raw); err != nil {
		return &FieldError{"headers", err}
	}
	err := members(raw, func(k string, v json.RawMessage) error {
		if string(v) == "null" {
			return nil
		}
		if err := t.readHeader(k, v); err != nil {
			return &FieldError{"header " + k, err}
		}
		return nil
	})
	var named *FieldError
	if err != nil && !errors.As(err, &named) {
		return &FieldError{"headers", err}
	}
	return err
}

func (t *Task) readHeader(k string, raw json.RawMessage) (err error) {
	if p := t.textHeader(k); p != nil {
		*p, err = text(raw)
		return err
	}
	switch k {
	case "eta":
		t.ETA, err = readTime(raw)
	case "expires":
		t.Expires, err = readTime(raw)
	case "group_index":
		err = json.Unmarshal(raw, &t.GroupIndex)
	case "retries":
		if err = json.Unmarshal(raw, &t.Retries); err == nil && t.Retries < 0 {
			err = errors.New("it is negative")
		}
	case "timelimit":
		t.HardLimit, t.SoftLimit, err = readLimits(raw)
	case "ignore_result":
		err = json.Unmarshal(raw, &t.IgnoreResult)
	case "replaced_task_nesting":
		err = json.Unmarshal(raw, &t.ReplacedTaskNesting)
	case "stamped_headers":
		err = json.Unmarshal(raw, &t.StampedHeaders)
	case "stamps":
		err = json.Unmarshal(raw, &t.Stamps)
	case "redelivered":
		err = json.Unmarshal(raw, &t.Redelivered)
	default:
		if t.Extra == nil {
			t.Extra = map[string]json.RawMessage{}
		}
		t.Extra[k] = raw
	}
	return err
}

// textHeader returns where a header that is a string goes.
func (t *Task) textHeader(k string) *string {
	switch k {
	case "lang":
		return &t.Lang
	case "task":
		return &t.Name
	case "id":
		return &t.ID
	case "shadow":
		return &t.Shadow
	case "group":
		return &t.Group
	case "root_id":
		return &t.RootID
	case "parent_id":
		return &t.ParentID
	case "argsrepr":
		return &t.ArgsRepr
	case "kwargsrepr":
		return &t.KwargsRepr
	case "origin":
		return &t.Origin
	case "compression":
		return &t.Compression
	}
	return nil
}

func (t *Task) readProperties(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	err := valid(raw)
	if err == nil {
		err = members(raw, func(k string, v json.RawMessage) (err error) {
			switch {
			case string(v) == "null":
			case k == "reply_to":
				t.ReplyTo, err = text(v)
			case k == "priority":
				err = json.Unmarshal(v, &t.Priority)
			}
			return err
		})
	}
	if err != nil {
		return &FieldError{"properties", err}
	}
	return nil
}

// DecodeBody reads arguments and embed. It may be called twice.
func (t *Task) DecodeBody() error {
	if t.body == nil {
		return nil
	}
	raw, err := decompress(t.body, t.Compression, t.limits.maxBody())
	if err != nil {
		var unsupported *UnsupportedError
		if errors.As(err, &unsupported) {
			return err
		}
		return &FieldError{"body", err}
	}
	raw = python(raw)
	if err := valid(raw); err != nil {
		return &FieldError{"body", err}
	}
	parts, err := elements(raw)
	if err != nil {
		return &FieldError{"body", err}
	}
	if len(parts) < 2 || len(parts) > 3 {
		return &FieldError{"body", fmt.Errorf("it has %d parts, want [args, kwargs, embed]", len(parts))}
	}
	if t.Args, err = elements(parts[0]); err != nil {
		return &FieldError{"body", fmt.Errorf("args: %w", err)}
	}
	if t.Kwargs, err = kwargs(parts[1]); err != nil {
		return &FieldError{"body", fmt.Errorf("kwargs: %w", err)}
	}
	if len(parts) == 3 {
		if err := t.readEmbed(parts[2]); err != nil {
			return &FieldError{"body", fmt.Errorf("embed: %w", err)}
		}
	}
	t.body = nil
	return nil
}

func kwargs(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	err := members(raw, func(k string, v json.RawMessage) error {
		if m == nil {
			m = make(map[string]json.RawMessage, 4)
		}
		m[k] = v
		return nil
	})
	return m, err
}

// readEmbed reads what follows the task. Missing and null fields are none.
func (t *Task) readEmbed(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	return members(raw, func(k string, v json.RawMessage) error {
		if string(v) == "null" {
			return nil
		}
		switch k {
		case "callbacks":
			return json.Unmarshal(v, &t.Embed.Callbacks)
		case "errbacks":
			return json.Unmarshal(v, &t.Embed.Errbacks)
		case "chain":
			return json.Unmarshal(v, &t.Embed.Chain)
		case "chord":
			return json.Unmarshal(v, &t.Embed.Chord)
		}
		return nil
	})
}

// decodeV1 reads protocol 1: everything in the body as one map.
// celery/worker/strategy.py proto1_to_proto2.
func decodeV1(t *Task) (*Task, error) {
	body, err := decompress(t.body, t.Compression, t.limits.maxBody())
	if err != nil {
		return nil, &FieldError{"body", err}
	}
	body = python(body)
	var m map[string]json.RawMessage
	if err = valid(body); err == nil {
		m, err = kwargs(body)
	}
	if err != nil {
		return nil, &FieldError{"body", fmt.Errorf("there is no header task, and it is no message of protocol 1 either: %w", err)}
	}
	for _, k := range []string{"task", "id", "retries", "eta", "expires", "group", "timelimit", "root_id", "parent_id"} {
		if raw, ok := m[k]; ok && string(raw) != "null" {
			if err := t.readHeader(k, raw); err != nil {
				return nil, &FieldError{k, err}
			}
		}
	}
	if t.Name == "" || t.ID == "" {
		return nil, &FieldError{"body", errors.New("there is no header task, and protocol 1 needs task and id")}
	}
	if err := t.readV1Body(m); err != nil {
		return nil, err
	}
	t.body = nil
	return t, nil
}

func (t *Task) readV1Body(m map[string]json.RawMessage) error {
	for k, dst := range map[string]any{
		"args": &t.Args, "kwargs": &t.Kwargs, "callbacks": &t.Embed.Callbacks,
		"errbacks": &t.Embed.Errbacks, "chord": &t.Embed.Chord,
	} {
		if raw, ok := m[k]; ok {
			if err := json.Unmarshal(raw, dst); err != nil {
				return &FieldError{k, err}
			}
		}
	}
	return nil
}

// readTime reads an ISO 8601 time; a naive one means UTC. Very old messages
// have a number of seconds for expires.
func readTime(raw json.RawMessage) (time.Time, error) {
	var seconds float64
	if json.Unmarshal(raw, &seconds) == nil {
		return time.Now().Add(time.Duration(seconds * float64(time.Second))), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return time.Time{}, err
	}
	d, err := parseDateTime(s)
	return d.Time, err
}

func readLimits(raw json.RawMessage) (hard, soft time.Duration, err error) {
	var pair []*float64
	if err := json.Unmarshal(raw, &pair); err != nil {
		return 0, 0, err
	}
	if len(pair) != 2 {
		return 0, 0, fmt.Errorf("it has %d parts, want [hard, soft]", len(pair))
	}
	read := func(p *float64) time.Duration {
		if p == nil || *p <= 0 || *p > 1e9 {
			return 0
		}
		return time.Duration(*p * float64(time.Second))
	}
	return read(pair[0]), read(pair[1]), nil
}
