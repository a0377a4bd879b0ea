package channels

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// guest enters a group in one of several ways.
type guest struct {
	Base
	how  int
	left *atomic.Int64 // who was accepted and is not disconnected
}

func (g *guest) Connect(ctx context.Context, c *Conn) error {
	group := fmt.Sprint("room-", g.how)
	switch g.how {
	case 0:
		return errors.Join(c.Join(ctx, group), c.Join(ctx, "hall"))
	case 1:
		return c.Follow(ctx, group, plainRelay)
	case 2:
		return c.Resume(ctx, group, plainRelay, Replay{})
	case 3:
		return errors.Join(c.Join(ctx, group), c.Present(ctx, group, Member{ID: "ann"}))
	case 4: // refused, though it has joined
		return errors.Join(c.Join(ctx, group), &Refused{Status: 401})
	case 5: // fails after it was accepted
		return errors.Join(c.Follow(ctx, group, plainRelay), errors.New("no luck"))
	}
	panic("no luck")
}

func (g *guest) Disconnect(context.Context, *Conn, int) {
	if g.how == 1 || g.how == 2 || g.how == 5 {
		g.left.Add(-1)
	}
}

var plainRelay = NewRelay(func(e Event) (Message, error) { return Message{Text: true, Data: e.Body()}, nil })

// cuts is a layer whose announcements fail, now and then.
type cuts struct {
	engine.Layer
	mu sync.Mutex
	n  int
}

func (c *cuts) Announce(ctx context.Context, group, owner string, who []byte, lease time.Duration) error {
	c.mu.Lock()
	c.n++
	fails := c.n%7 == 0
	c.mu.Unlock()
	if fails {
		return errors.New("the engine is away")
	}
	return c.Layer.Announce(ctx, group, owner, who, lease)
}

func TestThousandsComeAndGoAndNothingIsLeft(t *testing.T) {
	const clients, atOnce, ways = 2100, 50, 7
	layer := mem(t)
	h := open(t, &cuts{Layer: layer}, Options{})
	var left atomic.Int64
	var running sync.WaitGroup
	seats := make(chan struct{}, atOnce)
	for i := range clients {
		seats <- struct{}{}
		g := &guest{how: i % ways, left: &left}
		if g.how == 1 || g.how == 2 || g.how == 5 {
			left.Add(1) // accepted, whatever came then
		}
		running.Go(func() {
			defer func() { <-seats }()
			c := &client{req: httptest.NewRequest("GET", "/", nil), in: make(chan Message), out: make(chan string, 100), gone: make(chan struct{})}
			c.leave(1000)
			Serve(t.Context(), h, c, g)
		})
	}
	running.Wait()
	if n := left.Load(); n != 0 {
		t.Errorf("%d were accepted and never disconnected", n)
	}
	h.empty(t)
}

// empty fails if the hub remembers anything.
func (h *Hub) empty(t *testing.T) {
	t.Helper()
	if n := h.Stats().Channels.Load(); n != 0 {
		t.Errorf("%d channels are counted as open", n)
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for group, l := range s.groups {
			t.Errorf("the group %s is there with %d channels and %d relays", group, len(l.channels), len(l.relays))
		}
		if len(s.channels) > 0 {
			t.Errorf("%d channels are there", len(s.channels))
		}
		s.mu.Unlock()
	}
	h.presence.mu.Lock()
	defer h.presence.mu.Unlock()
	for group, r := range h.presence.groups {
		t.Errorf("%d are present in %s", len(r.here), group)
	}
}

// joins counts who is in which group, as the engine is told.
type joins struct {
	engine.Layer
	mu   sync.Mutex
	open map[string]int
	fail error // of announcing
}

func (j *joins) Attach(ctx context.Context) (engine.Inbox, error) {
	in, err := j.Layer.Attach(ctx)
	return &countedInbox{in, j}, err
}

func (j *joins) Announce(ctx context.Context, group, owner string, who []byte, lease time.Duration) error {
	if j.fail != nil && who == nil {
		return j.fail
	}
	return j.Layer.Announce(ctx, group, owner, who, lease)
}

type countedInbox struct {
	engine.Inbox
	j *joins
}

func (c *countedInbox) count(group string, n int) {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	if c.j.open[group] += n; c.j.open[group] == 0 {
		delete(c.j.open, group)
	}
}

func (c *countedInbox) Join(ctx context.Context, group, channel string) error {
	c.count(group, 1)
	return c.Inbox.Join(ctx, group, channel)
}

func (c *countedInbox) Leave(ctx context.Context, group, channel string) error {
	c.count(group, -1)
	return c.Inbox.Leave(ctx, group, channel)
}

func TestAGroupIsLeftAlsoWhenPresenceCannotBeTold(t *testing.T) {
	layer := &joins{Layer: mem(t), open: map[string]int{}, fail: errors.New("the engine is away")}
	h := open(t, layer, Options{})
	ch, err := h.Open(func(Event) {})
	if err == nil {
		err = errors.Join(ch.Join(t.Context(), "room"), ch.Present(t.Context(), "room", Member{ID: "ann"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Close(t.Context()); !errors.Is(err, layer.fail) {
		t.Errorf("close: %v, want %v", err, layer.fail)
	}
	if len(layer.open) > 0 {
		t.Errorf("the engine still has %v", layer.open)
	}
	h.empty(t)
}

// late is a layer in which a presence is announced after its channel was
// closed.
type late struct {
	engine.Layer
	meanwhile func()
}

func (l *late) Announce(ctx context.Context, group, owner string, who []byte, lease time.Duration) error {
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return l.Layer.Announce(ctx, group, owner, who, lease)
}

func TestWhoIsPresentedWhileTheChannelClosesIsNotPresent(t *testing.T) {
	layer := &late{Layer: mem(t)}
	h := open(t, layer, Options{})
	ch, err := h.Open(func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	layer.meanwhile = func() { // Close finds nothing to leave yet, as it may when it comes a moment earlier
		layer.meanwhile = nil
		ch.mu.Lock()
		clear(ch.present)
		ch.mu.Unlock()
		if err := ch.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := ch.Present(t.Context(), "room", Member{ID: "ann"}); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("present: %v, want that it is closed", err)
	}
	if who, err := h.Members(t.Context(), "room"); err != nil || len(who) > 0 {
		t.Errorf("present are %v, %v", who, err)
	}
	h.empty(t)
}
