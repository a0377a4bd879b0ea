package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// commandsOf pairs recordings with what makes the same request here.
var commandsOf = map[string]Command{
	"control-ping":                      {Method: "ping"},
	"control-revoke-by-stamped-headers": RevokeStamped(map[string][]string{"mtask_id": {"stamp-1"}}, false),
	"control-rate-limit":                RateLimit("proj.add", "10/m"),
	"control-time-limit":                TimeLimit("proj.add", 20*time.Second, 30*time.Second),
	"control-add-consumer":              AddConsumer("mail"),
	"control-cancel-consumer":           CancelConsumer("mail"),
	"control-pool-grow":                 PoolGrow(1),
	"control-autoscale":                 Autoscale(5, 1),
	"control-enable-events":             EnableEvents(),
	"control-disable-events":            DisableEvents(),
	"control-shutdown":                  Shutdown(),
	"monitor-revoke-terminate-reply":    Revoke("33333333-3333-3333-3333-333333333333"),
}

func TestRequestsAreCelerysToTheByte(t *testing.T) {
	c := client(t, nobody{}, Options{})
	for name, cmd := range commandsOf {
		golden := load(t, name)
		got, err := encode(c.body(cmd, golden.body.Ticket, golden.body.ReplyTo))
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, golden.request.Body); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, &want)
		}
	}
}

func TestQuestionsAreCelerysToTheByte(t *testing.T) {
	for name, ask := range map[string]func(*Client) error{
		"control-active":                   func(c *Client) error { _, err := c.Active(t.Context()); return err },
		"control-active-queues":            func(c *Client) error { _, err := c.Queues(t.Context()); return err },
		"control-clock":                    func(c *Client) error { _, err := c.Clock(t.Context()); return err },
		"control-conf":                     func(c *Client) error { _, err := c.Settings(t.Context(), false); return err },
		"control-ping":                     func(c *Client) error { _, err := c.Ping(t.Context()); return err },
		"control-ping-destination":         func(c *Client) error { _, err := c.To(nodeName).Ping(t.Context()); return err },
		"control-query-task":               func(c *Client) error { _, err := c.Query(t.Context(), "x"); return err },
		"control-registered":               func(c *Client) error { _, err := c.Registered(t.Context()); return err },
		"control-report":                   func(c *Client) error { _, err := c.Report(t.Context()); return err },
		"control-reserved":                 func(c *Client) error { _, err := c.Reserved(t.Context()); return err },
		"control-revoked":                  func(c *Client) error { _, err := c.Revoked(t.Context()); return err },
		"control-scheduled":                func(c *Client) error { _, err := c.Scheduled(t.Context()); return err },
		"control-stats":                    func(c *Client) error { _, err := c.Stats(t.Context()); return err },
		"monitor-inspect-registered-items": func(c *Client) error { _, err := c.Registered(t.Context(), "max_retries", "rate_limit"); return err },
	} {
		golden := load(t, name)
		heard := &ear{}
		if err := ask(client(t, heard, Options{Timeout: time.Nanosecond})); err != nil {
			t.Fatal(name, err)
		}
		var got body
		if err := json.Unmarshal(heard.sent.Body, &got); err != nil {
			t.Fatal(err)
		}
		got.Ticket, got.ReplyTo.RoutingKey = golden.body.Ticket, golden.body.ReplyTo.RoutingKey
		if !reflect.DeepEqual(got, golden.body) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, golden.body)
		}
		sameKind(t, name+" headers", golden.request.Headers, heard.sent.Headers)
	}
}

// textReplies are recordings whose reply must come out the same to the letter.
var textReplies = []string{
	"control-ping", "control-ping-destination", "monitor-ping-pattern", "control-unknown", "control-autoscale", "monitor-error-reply",
	"control-add-consumer", "control-cancel-consumer", "control-rate-limit", "control-time-limit",
	"control-enable-events", "control-revoke", "control-revoke-by-stamped-headers", "control-active", "control-reserved",
	"control-query-task", "control-registered", "control-active-queues",
}

func TestRepliesAreCelerysWords(t *testing.T) {
	for _, name := range textReplies {
		golden := load(t, name)
		_, got := exchangeOf(t, newDesk(), golden)
		var g, w any
		if json.Unmarshal(got, &g) != nil || json.Unmarshal(golden.replies, &w) != nil || !reflect.DeepEqual(g, w) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, golden.replies)
		}
	}
}

func TestRepliesHaveCelerysFields(t *testing.T) {
	start, pid := 1.5, 7
	inv := Invocation{ID: "33333333-3333-3333-3333-333333333333", Name: "proj.slow", Args: json.RawMessage("[25]"),
		Kwargs: json.RawMessage("{}"), Type: "proj.slow", Hostname: nodeName, TimeStart: &start, WorkerPID: &pid,
		DeliveryInfo: DeliveryInfo{RoutingKey: "celery"}}
	for _, name := range []string{"monitor-inspect-active", "monitor-inspect-query-task", "monitor-revoke-terminate-reply",
		"control-stats", "control-clock", "control-report", "control-active-queues", "control-hello", "monitor-mingle-two-workers"} {
		d := newDesk()
		d.held = []Held{{Invocation: inv}}
		golden := load(t, name)
		s, got := exchangeOf(t, d, golden, func(s *Server) { s.revoked.add("ba5e19bc-9d1e-4c4c-89cd-cfe5abc918c7") })
		sameKind(t, name, golden.replies, got)
		if s.Malformed() != 0 {
			t.Errorf("%s: %d requests counted as malformed", name, s.Malformed())
		}
	}
}

// exchangeOf has a server answer a recorded request.
func exchangeOf(t *testing.T, d *desk, golden capture, prepare ...func(*Server)) (*Server, json.RawMessage) {
	t.Helper()
	s, eng := serve(t, d)
	for _, p := range prepare {
		p(s)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	replies, err := eng.Listen(ctx, topicReplies(golden.body.ReplyTo.RoutingKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := eng.Broadcast(ctx, topicRequests, golden.request); err != nil {
		t.Fatal(err)
	}
	for m := range replies {
		var h struct{ Ticket string }
		if err := json.Unmarshal(m.Headers, &h); err != nil || h.Ticket != golden.body.Ticket {
			t.Errorf("headers %s: want ticket %s", m.Headers, golden.body.Ticket)
		}
		if m.ContentType != "application/json" || m.ContentEncoding != "utf-8" {
			t.Errorf("content is %s, %s", m.ContentType, m.ContentEncoding)
		}
		return s, m.Body
	}
	t.Fatal("no reply")
	return nil, nil
}

// sameKind fails unless got has the keys and kinds of values of want.
func sameKind(t *testing.T, at string, want, got json.RawMessage) {
	t.Helper()
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	compare(t, at, w, g)
}

// free are objects whose keys are data, and values that may be of another kind.
var free = []string{"total", "transport_options", "max-tasks-per-child", "userid", "virtual_host", "port",
	"connect_timeout", "heartbeat", "failover_strategy", "revoked", "expires"}

func compare(t *testing.T, at string, want, got any) {
	t.Helper()
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		t.Errorf("%s is a %T, want a %T", at, got, want)
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g := got.(map[string]any)
		for k := range g {
			if _, ok := w[k]; !ok {
				t.Errorf("%s has a key %q that Celery's has not", at, k)
			}
		}
		for k, v := range w {
			if _, ok := g[k]; !ok {
				t.Errorf("%s lacks the key %q", at, k)
				continue
			}
			if !slices.Contains(free, k) {
				compare(t, at+"."+k, v, g[k])
			}
		}
	case []any:
		g := got.([]any)
		for i := range min(len(w), len(g)) {
			compare(t, fmt.Sprintf("%s[%d]", at, i), w[i], g[i])
		}
	}
}

// nobody is a broker that nothing may be asked of.
type nobody struct{ engine.Broker }

// ear keeps what is sent to it, and has no replies.
type ear struct {
	engine.Broker
	sent engine.Message
}

func (e *ear) Broadcast(_ context.Context, _ engine.Topic, m engine.Message) error {
	e.sent = m
	return nil
}

func (e *ear) Listen(context.Context, engine.Topic) (iter.Seq[engine.Message], error) {
	return func(func(engine.Message) bool) {}, nil
}
