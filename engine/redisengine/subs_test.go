package redisengine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// heard is a listener that keeps what it hears; "again" stands for a connection
// that is back.
type heard chan string

func (h heard) hear(payload []byte, again bool) {
	if again {
		h <- "again"
		return
	}
	h <- string(payload)
}

func (h heard) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-h:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

func listen(t *testing.T, e *redisengine.Engine, channel string, pattern bool) (heard, func()) {
	t.Helper()
	h := make(heard, 1000)
	cancel, err := e.Subscribe(t.Context(), channel, pattern, h.hear)
	if err != nil {
		t.Fatal(err)
	}
	return h, cancel
}

// publish returns how many connections heard it.
func publish(t *testing.T, e *redisengine.Engine, channel, text string) int64 {
	t.Helper()
	c := e.Client()
	n, err := c.Do(t.Context(), c.B().Publish().Channel(channel).Message(text).Build()).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSubscriptionsAreCounted(t *testing.T) {
	t.Parallel()
	e := startRedis(t).engine(t)
	a, cancelA := listen(t, e, "c", false)
	b, cancelB := listen(t, e, "c", false)
	p, _ := listen(t, e, "c*", true)
	if n := publish(t, e, "c", "one"); n != 2 { // channel and pattern of one connection
		t.Errorf("%d heard it, want 2", n)
	}
	a.want(t, "one")
	b.want(t, "one")
	p.want(t, "one")
	cancelA()
	cancelA()
	publish(t, e, "c", "two")
	b.want(t, "two")
	cancelB()
	c, _ := listen(t, e, "c", false) // it must not be unsubscribed by the cancel
	publish(t, e, "c", "three")
	c.want(t, "three")
	if len(a) > 0 || len(b) > 0 {
		t.Errorf("cancelled listeners heard %d and %d messages", len(a), len(b))
	}
}

func TestWhoListensIsSubscribed(t *testing.T) {
	t.Parallel()
	e := startRedis(t).engine(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 50 {
				channel := fmt.Sprint("c", (i+j)%7)
				h, cancel := listen(t, e, channel, false)
				text := fmt.Sprint(i, "-", j)
				publish(t, e, channel, text)
				for got := range h {
					if got == text {
						break
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

func TestSubscriptionsOutliveTheirConnection(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	h, _ := listen(t, e, "c", false)
	p, _ := listen(t, e, "p*", true)
	for i, lose := range []func(){s.proxy.cut, func() { s.restart(t) }} {
		lose()
		h.want(t, "again")
		p.want(t, "again")
		publish(t, connect(t, "redis://"+s.addr()), "c", fmt.Sprint(i))
		h.want(t, fmt.Sprint(i))
	}
}

func TestWhileRedisIsAwayListenWaits(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	first, _ := listen(t, e, "first", false)
	s.kill()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.Subscribe(ctx, "c", false, make(heard, 1).hear); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("listen without Redis: got %v, want the end of its context", err)
	}
	s.start(t)
	h, _ := listen(t, e, "c", false)
	publish(t, connect(t, s.url()), "c", "back")
	h.want(t, "back")
	first.want(t, "again")
}

func TestAClosedEngineSubscribesToNothing(t *testing.T) {
	t.Parallel()
	e := startRedis(t).engine(t)
	listen(t, e, "c", false)
	e.Close()
	if _, err := e.Subscribe(t.Context(), "c", false, nil); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("listen after close: got %v, want ErrClosed", err)
	}
}

func TestARefusedChannelIsAnError(t *testing.T) {
	t.Parallel()
	s := startRedis(t, strings.Fields("--user default on nopass ~* +@all resetchannels &allowed*")...)
	e := s.engine(t)
	if _, err := e.Subscribe(t.Context(), "c", false, nil); err == nil {
		t.Error("a channel that the user may not hear is listened to")
	}
	h, _ := listen(t, e, "allowed", false)
	publish(t, e, "allowed", "x")
	h.want(t, "x")
}
