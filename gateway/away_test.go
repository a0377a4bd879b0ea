package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
)

// absent is a layer whose histories cannot be read while it is away.
type absent struct {
	engine.Layer
	away atomic.Bool
}

func (a *absent) History(ctx context.Context, group string, after uint64, most int) ([]engine.Kept, bool, error) {
	if a.away.Load() {
		return nil, false, errors.New("away")
	}
	return a.Layer.History(ctx, group, after, most)
}

// openAbsent serves groups on such a layer.
func openAbsent(t *testing.T) (*site, *absent) {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	layer := &absent{Layer: e}
	hub, err := channels.Open(t.Context(), layer, &channels.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, hub.Close()); err != nil {
			t.Error(err)
		}
	})
	opts := gateway.Options{Hub: hub}
	keep(&opts)
	return openOn(t, engine.All(e), opts), layer
}

// While the engine is away an event stream is told to come back, and never with
// a status at which an EventSource gives up; a WebSocket is refused with 503.
func TestNewcomersWhileTheEngineIsAwayComeBack(t *testing.T) {
	s, layer := openAbsent(t)
	layer.away.Store(true)
	for _, path := range []string{"/groups/garden/events", "/events?group=garden"} {
		r := s.follow(path)
		if e, err := r.Next(); err != io.EOF || r.Retry() < time.Second || r.Retry() > 2*time.Second {
			t.Errorf("%s: got %+v, %v, retry %v, want an end and a retry of a second or two", path, e, err, r.Retry())
		}
	}
	if c, res := s.dial("/groups/garden/ws", nil); c != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a WebSocket was answered %v, want 503", res.Status)
	}
}

// Who comes back while the engine is away has a connection at once, and gets
// what it missed when the engine is there.
func TestWhoComesBackWhileTheEngineIsAwayIsServedLater(t *testing.T) {
	s, layer := openAbsent(t)
	c := s.socket("/groups/garden/ws", "rhubarb.v1")
	first := s.envelope(c)
	s.tells("garden", "1")
	s.envelope(c)
	layer.away.Store(true)
	r := s.follow("/groups/garden/events?last_event_id=" + first.ID)
	back := s.socket("/groups/garden/ws?last_event_id="+first.ID, "rhubarb.v1")
	layer.away.Store(false)
	want := `{"n":1,"type":"x"}`
	if e, err := r.Next(); err != nil || e.Data != want {
		t.Errorf("the event stream got %+v, %v, want %s", e, err, want)
	}
	if e := s.envelope(back); string(e.Data) != want {
		t.Errorf("the WebSocket got %+v, want %s", e, want)
	}
}

// A client that is closed before it has heard anything knows where it was.
func TestANewSocketKnowsWhereItIs(t *testing.T) {
	s, _ := openGroups(t, keep)
	s.tells("chat.x", "0") // before it came
	c := s.socket("/groups/chat.x/ws", "rhubarb.v1")
	first := s.envelope(c)
	if first.ID == "" || first.Data != nil {
		t.Fatalf("the first message is %+v, want a position alone", first)
	}
	s.tells("chat.x", "1")
	if e := s.envelope(s.socket("/groups/chat.x/ws?last_event_id="+first.ID, "rhubarb.v1")); string(e.Data) != `{"n":1,"type":"x"}` {
		t.Errorf("it went on with %+v", e)
	}
}

type enveloped struct {
	ID   string
	Data json.RawMessage
}

// envelope reads a message in our subprotocol.
func (s *site) envelope(c *websocket.Conn) (m enveloped) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, raw, err := c.Read(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", raw, err)
	}
	return m
}
