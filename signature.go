package rhubarb

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	opts := c.options()
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

// options are the call's as apply_async names them.
func (c *Call) options() map[string]any {
	opts := map[string]any{}
	set := func(name string, is bool, value any) {
		if is {
			opts[name] = value
		}
	}
	set("task_id", c.ID != "", c.ID)
	set("queue", c.Queue != "", c.Queue)
	set("priority", c.Priority != 0, c.Priority)
	set("countdown", c.countdown != 0, c.countdown.Seconds()) // from when it is sent
	set("eta", !c.ETA.IsZero() && c.countdown == 0, c.ETA.UTC().Format(time.RFC3339Nano))
	set("expires", !c.Expires.IsZero(), c.Expires.UTC().Format(time.RFC3339Nano))
	set("expires", c.expiresIn > 0, c.expiresIn.Seconds())
	set("time_limit", c.HardLimit != 0, c.HardLimit.Seconds())
	set("soft_time_limit", c.SoftLimit != 0, c.SoftLimit.Seconds())
	set("group_id", c.GroupID != "", c.GroupID)
	set("group_index", c.GroupIndex != nil, c.GroupIndex)
	set("reply_to", c.ReplyTo != "", c.ReplyTo)
	set("compression", c.Compression != "", c.Compression)
	set("ignore_result", c.IgnoreResult, true)
	set("shadow", c.Shadow != "", c.Shadow)
	set("headers", len(c.Headers)+len(c.RawHeaders) > 0, c.headers())
	set("link", len(c.Links) > 0, c.Links)
	set("link_error", len(c.LinkErrors) > 0, c.LinkErrors)
	set("chain", len(c.Chain) > 0, c.Chain)
	set("chord", c.Chord != nil, c.Chord)
	set("stamped_headers", len(c.Stamps) > 0, slices.Sorted(maps.Keys(c.Stamps)))
	for k, v := range c.Stamps {
		opts[k] = v
	}
	return opts
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
		if string(raw) == "null" {
			continue
		}
		if err := c.option(k, raw); err != nil {
			return nil, fmt.Errorf("rhubarb: signature of %s: option %s: %w", s.Task, k, err)
		}
	}
	if err := c.readStamps(s.Options); err != nil {
		return nil, fmt.Errorf("rhubarb: signature of %s: option stamped_headers: %w", s.Task, err)
	}
	return c, c.err
}

// option reads one apply_async option of a signature. celery/app/task.py
// apply_async; those that mean nothing here are passed over, as Celery does.
func (c *Call) option(name string, raw json.RawMessage) (err error) {
	switch name {
	case "task_id":
		err = json.Unmarshal(raw, &c.ID)
	case "queue", "routing_key":
		if name == "queue" || c.Queue == "" {
			err = json.Unmarshal(raw, &c.Queue)
		}
	case "priority":
		err = json.Unmarshal(raw, &c.Priority)
	case "countdown", "eta", "expires", "time_limit", "soft_time_limit":
		return c.timeOption(name, raw)
	case "group_id":
		err = json.Unmarshal(raw, &c.GroupID)
	case "group_index":
		err = json.Unmarshal(raw, &c.GroupIndex)
	case "root_id":
		err = json.Unmarshal(raw, &c.RootID)
	case "parent_id":
		err = json.Unmarshal(raw, &c.ParentID)
	case "ignore_result":
		err = json.Unmarshal(raw, &c.IgnoreResult)
	case "shadow":
		err = json.Unmarshal(raw, &c.Shadow)
	case "reply_to":
		err = json.Unmarshal(raw, &c.ReplyTo)
	case "compression":
		err = json.Unmarshal(raw, &c.Compression)
	case "headers":
		err = json.Unmarshal(raw, &c.RawHeaders)
	case "link":
		err = unmarshalSignatures(raw, &c.Links)
	case "link_error":
		err = unmarshalSignatures(raw, &c.LinkErrors)
	case "chain":
		err = unmarshalSignatures(raw, &c.Chain)
	case "chord":
		err = json.Unmarshal(raw, &c.Chord)
	}
	return err
}

// maxSeconds bounds what a peer gives in seconds, to what a Duration can hold.
const maxSeconds = 1e9

// timeOption reads an option that is a time or a number of seconds.
func (c *Call) timeOption(name string, raw json.RawMessage) error {
	var seconds float64
	if json.Unmarshal(raw, &seconds) != nil {
		var when celery.DateTime
		if err := json.Unmarshal(raw, &when); err != nil {
			return err
		}
		switch name {
		case "eta":
			c.ETA = when.Time
		case "expires":
			c.Expires = when.Time
		default:
			return errors.New("it is not a number of seconds")
		}
		return nil
	}
	d := time.Duration(min(max(seconds, -maxSeconds), maxSeconds) * float64(time.Second))
	switch name {
	case "countdown":
		if d > 0 { // celery/app/amqp.py as_task_v2: a negative one is at once
			Countdown(d)(c)
		}
	case "expires":
		c.expiresIn = max(d, 1) // past already: it will be REVOKED
	case "time_limit":
		c.HardLimit = d
	case "soft_time_limit":
		c.SoftLimit = d
	default:
		return errors.New("it is not a time")
	}
	return nil
}

// readStamps reads the stamps among the options: a list of their names, and
// each by its name. celery/app/amqp.py as_task_v2.
func (c *Call) readStamps(options map[string]json.RawMessage) error {
	raw := options["stamped_headers"]
	if raw == nil {
		return nil
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return err
	}
	for _, name := range names {
		if c.Stamps == nil {
			c.Stamps = make(map[string]json.RawMessage, len(names))
		}
		if c.Stamps[name] = options[name]; c.Stamps[name] == nil {
			c.Stamps[name] = json.RawMessage("null")
		}
	}
	return nil
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
