package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

const nodeName = "celery@host"

// desk is a node without tasks of its own: it holds what a test puts there and
// notes what it is told.
type desk struct {
	held   []Held
	queues []string
	events *switchboard

	mu   sync.Mutex
	told []string
}

func newDesk() *desk {
	return &desk{queues: []string{"celery"}, events: &switchboard{tasks: true}}
}

func (d *desk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, fmt.Sprintf(format, args...))
}

// heard returns what the node was told.
func (d *desk) heard() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told)
}

func (d *desk) Held() []Held { return d.held }

func (d *desk) Registered() []Registered {
	names := []string{"proj.add", "proj.fail", "proj.flaky", "proj.ids", "proj.mul", "proj.onerr",
		"proj.parent", "proj.progress", "proj.quiet", "proj.send_email", "proj.tsum", "celery.chord"}
	var list []Registered
	for _, n := range names {
		list = append(list, Registered{n, map[string]string{"max_retries": "3"}})
	}
	return list
}

func (d *desk) Stats() Stats {
	host := "127.0.0.1"
	return Stats{
		Total: map[string]int64{"proj.add": 1}, Uptime: 18,
		Pool: Pool{Implementation: "desk", MaxConcurrency: 1, Processes: json.RawMessage("[7]"), Timeouts: json.RawMessage("[]")},
		Broker: BrokerInfo{Hostname: &host, Transport: "memory", SSL: json.RawMessage("false"),
			TransportOptions: json.RawMessage("{}"), Alternates: []string{}},
	}
}

func (d *desk) Settings() []Setting {
	return []Setting{
		{Name: "broker_url", Value: "redis://:sesame@127.0.0.1:7301/5"},
		{Name: "result_backend", Value: "redis://127.0.0.1:7301/5"},
		{Name: "security_key", Value: "sesame"},
		{Name: "worker_concurrency", Value: 100, Default: true},
	}
}

func (d *desk) Queues() []string { return d.queues }

func (d *desk) Revoke(_ context.Context, ids []string) error {
	d.note("revoke %v", ids)
	return nil
}

func (d *desk) SetRate(task string, perSecond float64, text string) bool {
	d.note("rate %s %v %s", task, perSecond, text)
	return task == "proj.add"
}

func (d *desk) SetLimits(task string, soft, hard time.Duration) bool {
	d.note("limits %s %v %v", task, soft, hard)
	return task == "proj.add"
}

func (d *desk) Resize(n int) error {
	if n < 0 {
		return errors.New("the pool is as small as it can be")
	}
	d.note("resize %d", n)
	return nil
}

func (d *desk) AddQueue(_ context.Context, name string) error {
	d.queues = append(d.queues, name)
	return nil
}

func (d *desk) CancelQueue(_ context.Context, name string) error {
	d.queues = slices.DeleteFunc(d.queues, func(q string) bool { return q == name })
	return nil
}

func (d *desk) Events() Events {
	if d.events == nil {
		return nil
	}
	return d.events
}

func (d *desk) Shutdown(reason string) { d.note("shutdown %s", reason) }

type switchboard struct {
	tasks bool
	beats int
}

func (s *switchboard) Enable() bool  { return s.set(true) }
func (s *switchboard) Disable() bool { return s.set(false) }
func (s *switchboard) Heartbeat()    { s.beats++ }

func (s *switchboard) set(on bool) bool {
	was := s.tasks
	s.tasks = on
	return was != on
}

// serve runs a server for the node until the test ends, and returns it with the
// broker that it listens to.
func serve(t *testing.T, node Node) (*Server, engine.Broker) {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() { eng.Close() })
	return serveOn(t, eng, nodeName, node), eng
}

func serveOn(t *testing.T, eng engine.Broker, name string, node Node) *Server {
	t.Helper()
	s, err := NewServer(eng, name, node, &ServerOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	c, err := New(eng, &Options{Nodes: []string{name}, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for { // until it listens
		up, err := c.Ping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if up[name] == "pong" {
			return s
		}
	}
}

// client makes one that waits as long as it takes for one reply.
func client(t *testing.T, eng engine.Broker, o Options) *Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	c, err := New(eng, &o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
