package control

import (
	"context"
	"encoding/json"
	"fmt"
)

// The questions of celery/app/control.py Inspect. Each returns what nodes
// answered by name, and joins those that failed in the error as [*NodeError].

// ask calls a method and decodes the replies.
func ask[T any](ctx context.Context, c *Client, method string, args any) (map[string]T, error) {
	replies, err := c.Call(ctx, Command{method, args})
	if err != nil {
		return nil, err
	}
	return read(replies, func(raw json.RawMessage) (v T, err error) {
		return v, json.Unmarshal(raw, &v)
	})
}

// say calls a method that is answered with a text.
func (c *Client) say(ctx context.Context, method string, args any) (map[string]string, error) {
	replies, err := c.Call(ctx, Command{method, args})
	if err != nil {
		return nil, err
	}
	return replies.OK()
}

// Ping returns "pong" for each node that is there.
func (c *Client) Ping(ctx context.Context) (map[string]string, error) {
	return c.say(ctx, "ping", nil)
}

// Report returns what a bug report should say of each node.
func (c *Client) Report(ctx context.Context) (map[string]string, error) {
	return c.say(ctx, "report", nil)
}

// Clock returns the nodes' logical clocks.
func (c *Client) Clock(ctx context.Context) (map[string]uint64, error) {
	type reply struct {
		Clock uint64 `json:"clock"`
	}
	all, err := ask[reply](ctx, c, "clock", nil)
	out := make(map[string]uint64, len(all))
	for node, r := range all {
		out[node] = r.Clock
	}
	return out, err
}

// Stats returns the nodes' numbers.
func (c *Client) Stats(ctx context.Context) (map[string]Stats, error) {
	return ask[Stats](ctx, c, "stats", nil)
}

// Settings returns the nodes' configurations, by Celery's names; defaults tells
// that what is not set is wanted as well. Secrets are masked.
func (c *Client) Settings(ctx context.Context, defaults bool) (map[string]map[string]json.RawMessage, error) {
	return ask[map[string]json.RawMessage](ctx, c, "conf", struct {
		WithDefaults bool `json:"with_defaults"`
	}{defaults})
}

// Active returns what runs.
func (c *Client) Active(ctx context.Context) (map[string][]Invocation, error) {
	return ask[[]Invocation](ctx, c, "active", struct {
		Safe *bool `json:"safe"`
	}{})
}

// Reserved returns what the nodes hold and do not run yet.
func (c *Client) Reserved(ctx context.Context) (map[string][]Invocation, error) {
	return ask[[]Invocation](ctx, c, "reserved", nil)
}

// Scheduled returns what waits in the nodes for its time. That is none in a Go
// worker: there it waits in the engine.
func (c *Client) Scheduled(ctx context.Context) (map[string][]Scheduled, error) {
	return ask[[]Scheduled](ctx, c, "scheduled", nil)
}

// Revoked returns the ids that the nodes remember as revoked.
func (c *Client) Revoked(ctx context.Context) (map[string][]string, error) {
	return ask[[]string](ctx, c, "revoked", nil)
}

// Registered returns the tasks that the nodes know, each with those of the
// attributes that it has: "mail.send [rate_limit=10/m]".
func (c *Client) Registered(ctx context.Context, attributes ...string) (map[string][]string, error) {
	if attributes == nil {
		attributes = []string{}
	}
	return ask[[]string](ctx, c, "registered", struct {
		Items []string `json:"taskinfoitems"`
	}{attributes})
}

// Queues returns what the nodes take from.
func (c *Client) Queues(ctx context.Context) (map[string][]Queue, error) {
	return ask[[]Queue](ctx, c, "active_queues", nil)
}

// Found is a call that a node holds: active, reserved or ready.
type Found struct {
	State string
	Invocation
}

// UnmarshalJSON implements json.Unmarshaler: it is a pair on the wire.
func (f *Found) UnmarshalJSON(raw []byte) error {
	pair := [2]any{&f.State, &f.Invocation}
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	if len(parts) != len(pair) {
		return fmt.Errorf("control: %d parts, want a state and a call", len(parts))
	}
	for i, to := range pair {
		if err := json.Unmarshal(parts[i], to); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (f Found) MarshalJSON() ([]byte, error) { return encode([2]any{f.State, f.Invocation}) }

// Query looks for calls by their ids. What a node does not hold is left out.
func (c *Client) Query(ctx context.Context, ids ...string) (map[string]map[string]Found, error) {
	if ids == nil {
		ids = []string{}
	}
	return ask[map[string]Found](ctx, c, "query_task", struct {
		IDs []string `json:"ids"`
	}{ids})
}

// Memory returns how much memory the nodes use, for people; empty if a node
// cannot tell.
func (c *Client) Memory(ctx context.Context) (map[string]string, error) {
	return ask[string](ctx, c, "memsample", nil)
}

// MemDump returns a text on the nodes' memory, and ObjGraph the name of a file
// that a Python worker drew. Go workers cannot.
func (c *Client) MemDump(ctx context.Context) (map[string]string, error) {
	return ask[string](ctx, c, "memdump", struct {
		Samples int `json:"samples"`
	}{10})
}

// ObjGraph: see [Client.MemDump].
func (c *Client) ObjGraph(ctx context.Context, kind string) (Replies, error) {
	return c.Call(ctx, Command{"objgraph", struct {
		Num      int    `json:"num"`
		MaxDepth int    `json:"max_depth"`
		Type     string `json:"type"`
	}{200, 10, kind}})
}
