package channels

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// fan is a consumer that follows a group by a relay.
type fan struct {
	Base
	relay *Relay
	calls atomic.Int32
}

func (f *fan) Connect(ctx context.Context, c *Conn) error { return c.Follow(ctx, "room", f.relay) }

func (f *fan) Event(context.Context, *Conn, Event) error {
	f.calls.Add(1)
	return nil
}

func TestARelayRendersOnceForAllItsFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		var rendered atomic.Int32
		relay := NewRelay(func(e Event) (Message, error) {
			rendered.Add(1)
			var s said
			err := e.Decode(&s)
			switch s.Message {
			case "fail":
				err = errors.New("no luck")
			case "hush":
				return Message{}, nil
			}
			return Message{Text: true, Data: []byte(s.Message)}, err
		})
		consumer := &fan{relay: relay}
		ann, annDone := serve(t, h, consumer)
		bob, _ := serve(t, h, consumer)
		synctest.Wait()
		say := func(text string) {
			t.Helper()
			e, err := NewEvent("chat.message", said{text})
			if err == nil {
				err = h.GroupSend(t.Context(), "room", e)
			}
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, text := range []string{"one", "fail", "hush", "two"} {
			say(text)
		}
		ann.wants(t, "one", "two")
		bob.wants(t, "one", "two")
		if n := rendered.Load(); n != 4 {
			t.Errorf("four events were rendered %d times", n)
		}
		if n := consumer.calls.Load(); n != 0 {
			t.Errorf("the consumer was called for %d events", n)
		}
		if n := h.Stats().Bad.Load(); n != 1 {
			t.Errorf("%d events counted as bad, want 1", n)
		}
		ann.leave(1000)
		<-annDone
		say("three")
		ann.wants(t)
		bob.wants(t, "three")
	})
}
