package rhubarb

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// signature writes the call in Celery's form; its options are those of
// apply_async.
func (c *Call) signature() (Signature, error) {
	if c.err != nil {
		return Signature{}, fmt.Errorf("rhubarb: signature of %s: %w", c.Task, c.err)
	}
	s := Signature{Task: c.Task, Args: c.Args, Kwargs: c.Kwargs}
	if s.Args == nil {
		s.Args = []json.RawMessage{}
	}
	if s.Kwargs == nil {
		s.Kwargs = map[string]json.RawMessage{}
	}
	opts := map[string]any{}
	if c.ID != "" {
		opts["task_id"] = c.ID
	}
	if c.Queue != "" {
		opts["queue"] = c.Queue
	}
	if c.Priority != 0 {
		opts["priority"] = c.Priority
	}
	if !c.ETA.IsZero() {
		opts["eta"] = c.ETA.UTC().Format(time.RFC3339Nano)
	}
	if !c.Expires.IsZero() {
		opts["expires"] = c.Expires.UTC().Format(time.RFC3339Nano)
	}
	if len(opts) == 0 {
		return s, nil
	}
	s.Options = make(map[string]json.RawMessage, len(opts))
	for k, v := range opts {
		raw, err := celery.Marshal(v)
		if err != nil {
			return Signature{}, fmt.Errorf("rhubarb: signature of %s: option %s: %w", c.Task, k, err)
		}
		s.Options[k] = raw
	}
	return s, nil
}

// CallOf makes the call that a signature asks for. prepend goes in front of
// its arguments unless it is immutable.
func CallOf(s Signature, prepend ...json.RawMessage) (*Call, error) {
	if err := checkName(s.Task); err != nil {
		return nil, fmt.Errorf("rhubarb: signature: %w", err)
	}
	c := newCall(s.Task, Defaults{})
	c.Kwargs = s.Kwargs
	if s.Immutable {
		prepend = nil
	}
	c.Args = append(append([]json.RawMessage{}, prepend...), s.Args...)
	for k, raw := range s.Options {
		if err := c.option(k, raw); err != nil {
			return nil, fmt.Errorf("rhubarb: signature of %s: option %s: %w", s.Task, k, err)
		}
	}
	return c, nil
}

// option reads one apply_async option of a signature. celery/app/task.py
// apply_async; those that mean nothing here are passed over, as Celery does.
func (c *Call) option(name string, raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	var seconds float64
	var when celery.DateTime
	var err error
	switch name {
	case "task_id":
		err = json.Unmarshal(raw, &c.ID)
	case "queue", "routing_key":
		if name == "queue" || c.Queue == "" {
			err = json.Unmarshal(raw, &c.Queue)
		}
	case "priority":
		err = json.Unmarshal(raw, &c.Priority)
	case "countdown":
		if err = json.Unmarshal(raw, &seconds); err == nil {
			Countdown(time.Duration(seconds * float64(time.Second)))(c)
		}
	case "eta":
		if err = json.Unmarshal(raw, &when); err == nil {
			c.ETA = when.Time
		}
	case "expires":
		if json.Unmarshal(raw, &seconds) == nil {
			ExpiresIn(time.Duration(seconds * float64(time.Second)))(c)
		} else if err = json.Unmarshal(raw, &when); err == nil {
			c.Expires = when.Time
		}
	case "group_id":
		err = json.Unmarshal(raw, &c.GroupID)
	case "root_id":
		err = json.Unmarshal(raw, &c.RootID)
	case "parent_id":
		err = json.Unmarshal(raw, &c.ParentID)
	case "ignore_result":
		err = json.Unmarshal(raw, &c.IgnoreResult)
	case "shadow":
		err = json.Unmarshal(raw, &c.Shadow)
	case "link":
		err = unmarshalSignatures(raw, &c.Links)
	case "link_error":
		err = unmarshalSignatures(raw, &c.LinkErrors)
	}
	return err
}

// unmarshalSignatures reads one signature or a list of them: Celery accepts
// both. celery/canvas.py maybe_list.
func unmarshalSignatures(raw json.RawMessage, out *[]Signature) error {
	var one Signature
	if err := json.Unmarshal(raw, &one); err == nil {
		*out = append(*out, one)
		return nil
	}
	var many []Signature
	if err := json.Unmarshal(raw, &many); err != nil {
		return err
	}
	*out = append(*out, many...)
	return nil
}
