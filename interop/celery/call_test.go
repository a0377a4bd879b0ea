package celery_test

import (
	"encoding/json"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// call is a task to be sent by any client: the zero value of a field is not
// given. Whoever runs the scenario fills ID and Queue.
type call struct {
	ID, Task, Queue string

	Args   []any // of Go types that package rhubarb documents
	Kwargs map[string]any

	Countdown, ETA, Expires time.Duration // from now
	Soft, Hard              time.Duration
	Priority                int
	IgnoreResult            bool
	Shadow                  string
	Headers                 map[string]string
	Stamps                  map[string]string
	Compression             string
	Protocol                int

	Immutable       bool // as a part of another call
	Link, LinkError []*call
	Then            []*call // the further steps of a chain
}

// one calls a task with positional arguments.
func one(task string, args ...any) *call { return &call{Task: "interop." + task, Args: args} }

// parts are all calls that are sent along with one.
func (c *call) parts() []*call {
	all := append(append(append([]*call{}, c.Link...), c.LinkError...), c.Then...)
	for _, part := range all {
		all = append(all, part.parts()...)
	}
	return all
}

// last is the call whose result is what the whole comes to.
func (c *call) last() *call {
	if len(c.Then) > 0 {
		return c.Then[len(c.Then)-1]
	}
	return c
}

// MarshalJSON writes the call for client.py.
func (c *call) MarshalJSON() ([]byte, error) {
	args, kwargs, err := c.values()
	if err != nil {
		return nil, err
	}
	m := map[string]any{
		"id": c.ID, "task": c.Task, "queue": c.Queue, "args": string(args), "kwargs": string(kwargs),
		"immutable": c.Immutable, "options": c.options(), "protocol": c.Protocol,
	}
	for name, calls := range map[string][]*call{"link": c.Link, "link_error": c.LinkError, "then": c.Then} {
		if len(calls) > 0 {
			m[name] = calls
		}
	}
	return json.Marshal(m)
}

// values are the arguments as kombu's JSON.
func (c *call) values() (args, kwargs json.RawMessage, err error) {
	if args, err = celery.Marshal(append([]any{}, c.Args...)); err != nil {
		return nil, nil, err
	}
	if c.Kwargs == nil {
		return args, json.RawMessage("{}"), nil
	}
	kwargs, err = celery.Marshal(c.Kwargs)
	return args, kwargs, err
}

// options are those of Celery's apply_async.
func (c *call) options() map[string]any {
	o := map[string]any{}
	for name, d := range map[string]time.Duration{
		"countdown": c.Countdown, "eta_in": c.ETA, "expires_in": c.Expires, "soft_time_limit": c.Soft, "time_limit": c.Hard,
	} {
		if d != 0 {
			o[name] = d.Seconds()
		}
	}
	if c.Priority != 0 {
		o["priority"] = c.Priority
	}
	if c.IgnoreResult {
		o["ignore_result"] = true
	}
	for name, s := range map[string]string{"shadow": c.Shadow, "compression": c.Compression} {
		if s != "" {
			o[name] = s
		}
	}
	for name, m := range map[string]map[string]string{"headers": c.Headers, "stamps": c.Stamps} {
		if len(m) > 0 {
			o[name] = m
		}
	}
	return o
}
