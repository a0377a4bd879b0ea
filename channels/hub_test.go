package channels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

// open makes a hub that runs until the test ends.
func open(t *testing.T, layer engine.Layer, opts Options) *Hub {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	h, err := Open(t.Context(), layer, &opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var run sync.WaitGroup
	run.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		run.Wait()
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

func mem(t *testing.T) engine.Layer {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	return e
}

// ear is a channel that notes what it hears.
type ear struct {
	*Channel
	mu    sync.Mutex
	heard []string
}

func listen(t *testing.T, h *Hub, groups ...string) *ear {
	t.Helper()
	e := &ear{}
	var err error
	if e.Channel, err = h.Open(e.hear); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, engine.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	for _, g := range groups {
		if err := e.Join(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e *ear) hear(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, ev.Type)
}

func (e *ear) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.heard, want) {
		t.Errorf("heard %q, want %q", e.heard, want)
	}
	e.heard = nil
}

func say(t *testing.T, h *Hub, group string, types ...string) {
	t.Helper()
	for _, typ := range types {
		e, err := NewEvent(typ, nil)
		if err == nil {
			err = h.GroupSend(t.Context(), group, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestGroupsReachAllHubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		one, two := open(t, layer, Options{}), open(t, layer, Options{})
		a, b, c := listen(t, one, "g"), listen(t, one, "g", "h"), listen(t, two, "g")
		say(t, two, "g", "1", "2")
		say(t, one, "h", "3")
		a.wants(t, "1", "2")
		b.wants(t, "1", "2", "3")
		c.wants(t, "1", "2")
		if err := b.Leave(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		say(t, one, "g", "4")
		a.wants(t, "4")
		b.wants(t)
		c.wants(t, "4")
		e, err := NewEvent("direct", nil)
		if err == nil {
			err = one.Send(t.Context(), c.Name(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
		a.wants(t)
		c.wants(t, "direct")
	})
}

func TestAClosedChannelIsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		h := open(t, layer, Options{})
		a := listen(t, h, "g", "h")
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		say(t, h, "g", "1")
		a.wants(t)
		if err := a.Join(t.Context(), "g"); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("join: %v, want ErrClosed", err)
		}
		for i := range h.shards {
			if n, m := len(h.shards[i].groups), len(h.shards[i].channels); n+m > 0 {
				t.Errorf("shard %d still knows %d groups and %d channels", i, n, m)
			}
		}
		if n := h.Stats().Channels.Load(); n != 0 {
			t.Errorf("%d channels are open", n)
		}
	})
}

func TestASlowConnectionLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{Capacity: 3})
		wait := make(chan struct{})
		var heard []string
		c, err := h.Open(func(e Event) {
			<-wait
			heard = append(heard, e.Type)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Join(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		quick := listen(t, h, "g")
		var want []string
		for i := range 10 {
			say(t, h, "g", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			synctest.Wait()
		}
		quick.wants(t, want...)
		close(wait)
		synctest.Wait()
		if want := []string{"0", "7", "8", "9"}; !slices.Equal(heard, want) || h.Stats().Dropped.Load() != 6 {
			t.Errorf("heard %q, %d dropped; want %q and 6", heard, h.Stats().Dropped.Load(), want)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestABadEventHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		h := open(t, layer, Options{})
		a := listen(t, h, "g")
		for _, body := range []string{"", "\xc1", "\x80", "\x81\xa4type\xa2_x"} {
			if err := layer.GroupSend(t.Context(), []engine.LayerMessage{{To: "g", Body: []byte(body)}})[0]; err != nil {
				t.Fatal(err)
			}
		}
		say(t, h, "g", "good")
		a.wants(t, "good")
		if n := h.Stats().Bad.Load(); n != 4 {
			t.Errorf("%d bad events were counted, want 4", n)
		}
	})
}

func TestRunEndsWithTheEngine(t *testing.T) {
	e := memengine.New()
	h, err := Open(t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("run: %v, want ErrClosed", err)
	}
	if _, err := Open(t.Context(), e, nil); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("open: %v, want ErrClosed", err)
	}
	if _, err := Open(t.Context(), e, &Options{Capacity: -1}); err == nil {
		t.Error("a negative capacity was taken")
	}
}
