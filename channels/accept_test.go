package channels

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// eager is a client for whom something is sent as soon as it is accepted.
type eager struct {
	*client
	accepted func()
}

func (e eager) Accept(subprotocol string) error {
	err := e.client.Accept(subprotocol)
	e.accepted()
	time.Sleep(time.Second) // in a bubble: it has arrived
	return err
}

// follow is a consumer of one call.
type follow struct {
	Base
	enter func(ctx context.Context, c *Conn) error
}

func (f follow) Connect(ctx context.Context, c *Conn) error { return f.enter(ctx, c) }

// TestWhoIsAcceptedMissesNothing: a client that knows it is connected may count
// on being in the group.
func TestWhoIsAcceptedMissesNothing(t *testing.T) {
	for name, enter := range map[string]func(ctx context.Context, c *Conn) error{
		"follow": func(ctx context.Context, c *Conn) error { return c.Follow(ctx, "room", plainRelay) },
		"resume": func(ctx context.Context, c *Conn) error { return c.Resume(ctx, "room", plainRelay, Replay{Last: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, mem(t), Options{})
				e, err := NewEvent("x", nil)
				if err != nil {
					t.Fatal(err)
				}
				c := &client{in: make(chan Message), out: make(chan string, 100), gone: make(chan struct{})}
				done := make(chan struct{})
				go func() {
					defer close(done)
					Serve(t.Context(), h, eager{c, func() {
						if err := h.GroupSend(t.Context(), "room", e); err != nil {
							t.Error(err)
						}
					}}, follow{enter: enter})
				}()
				time.Sleep(2 * time.Second)
				c.wants(t, string(e.Body()))
				c.leave(1000)
				<-done
			})
		})
	}
}
