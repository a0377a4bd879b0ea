package channels

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// client is the far end of a connection, in memory.
type client struct {
	req  *http.Request
	in   chan Message // to the consumer
	out  chan string  // from it
	gone chan struct{}

	mu     sync.Mutex
	status string // how the handshake ended
	left   *Closed
}

func (c *client) Request() *http.Request { return c.req }

func (c *client) Accept(subprotocol string) error {
	c.end("accepted " + subprotocol)
	return nil
}

func (c *client) Refuse(status int, reason string) {
	c.end(fmt.Sprint("refused ", status, " ", reason))
}

func (c *client) end(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status += status
}

func (c *client) Read(ctx context.Context) (Message, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.gone:
		c.mu.Lock()
		defer c.mu.Unlock()
		return Message{}, c.left
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

func (c *client) Write(_ context.Context, m Message) error {
	c.out <- string(m.Data)
	return nil
}

func (c *client) WriteShared(messages ...*Shared) error {
	var bad error
	for _, s := range messages {
		_, err := s.Form(0, func(m Message) ([]byte, error) { return m.Data, nil })
		bad = cmp.Or(bad, err)
		c.out <- string(s.Data)
	}
	return bad
}

func (c *client) Close(code int, reason string) error {
	c.out <- fmt.Sprint("close ", code)
	c.leave(code)
	return nil
}

// leave ends the connection as a client would.
func (c *client) leave(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == nil {
		c.left = &Closed{Code: code}
		close(c.gone)
	}
}

func (c *client) say(text string) { c.in <- Message{Text: true, Data: []byte(text)} }

func (c *client) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	var got []string
	for len(c.out) > 0 {
		got = append(got, <-c.out)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the client got %q, want %q", got, want)
	}
}

// serve connects a client to a consumer.
func serve(t *testing.T, h *Hub, consumer Consumer) (c *client, done chan struct{}) {
	t.Helper()
	c = &client{
		req: httptest.NewRequest("GET", "/ws/chat/garden/", http.NoBody),
		in:  make(chan Message), out: make(chan string, 100), gone: make(chan struct{}),
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		Serve(t.Context(), h, c, consumer)
	}()
	t.Cleanup(func() {
		c.leave(closeGone)
		<-done
	})
	return c, done
}

// room is the chat of every tutorial.
type room struct {
	Base
	code chan int
}

type said struct {
	Message string `json:"message"`
}

func (r *room) Connect(ctx context.Context, c *Conn) error { return c.Join(ctx, "room") }

func (r *room) Receive(ctx context.Context, c *Conn, m Message) error {
	switch text := string(m.Data); text {
	case "fail":
		return errors.New("no luck")
	case "panic":
		panic("no luck at all")
	default:
		e, err := NewEvent("chat.message", said{text})
		if err != nil {
			return err
		}
		return c.GroupSend(ctx, "room", e)
	}
}

func (r *room) Event(ctx context.Context, c *Conn, e Event) error {
	var s said
	if err := e.Decode(&s); err != nil {
		return err
	}
	return c.WriteJSON(ctx, s)
}

func (r *room) Disconnect(_ context.Context, _ *Conn, code int) { r.code <- code }

func TestARoomOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		one, two := open(t, layer, Options{}), open(t, layer, Options{})
		left := make(chan int, 2)
		ann, annDone := serve(t, one, &room{code: left})
		bob, _ := serve(t, two, &room{code: left})
		synctest.Wait()
		if ann.status != "accepted " || bob.status != "accepted " {
			t.Fatalf("handshakes: %q, %q", ann.status, bob.status)
		}
		ann.say("hello")
		ann.wants(t, `{"message":"hello"}`)
		bob.wants(t, `{"message":"hello"}`)
		ann.leave(1001)
		<-annDone
		if code := <-left; code != 1001 {
			t.Errorf("disconnect with %d, want 1001", code)
		}
		bob.say("anyone?")
		bob.wants(t, `{"message":"anyone?"}`)
		ann.wants(t)
	})
}

func TestAFailingConsumerClosesItsOwnConnection(t *testing.T) {
	for _, word := range []string{"fail", "panic"} {
		t.Run(word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, mem(t), Options{})
				left := make(chan int, 2)
				bad, done := serve(t, h, &room{code: left})
				good, _ := serve(t, h, &room{code: left})
				bad.say(word)
				bad.wants(t, "close 1011")
				<-done
				if code := <-left; code != closeError {
					t.Errorf("disconnect with %d, want 1011", code)
				}
				good.say("still here")
				good.wants(t, `{"message":"still here"}`)
				if n := h.Stats().Failed.Load(); n != 1 {
					t.Errorf("%d failures were counted", n)
				}
			})
		})
	}
}

// door answers a handshake.
type door struct {
	Base
	err      error
	protocol string
}

func (d *door) Connect(_ context.Context, c *Conn) error {
	if d.protocol != "" {
		if err := c.Accept(d.protocol); err != nil {
			return err
		}
	}
	return d.err
}

func TestHandshakesEndAsTheConsumerSays(t *testing.T) {
	for _, c := range []struct {
		name     string
		consumer Consumer
		status   string
		wrote    []string
	}{
		{"by default it is accepted", Base{}, "accepted ", nil},
		{"with a subprotocol", &door{protocol: "chat.v2"}, "accepted chat.v2", nil},
		{"refused", &door{err: &Refused{}}, "refused 403 ", nil},
		{"refused with a status", &door{err: &Refused{Status: 401, Reason: "log in"}}, "refused 401 log in", nil},
		{"failed", &door{err: errors.New("no database")}, "refused 500 ", nil},
		{"failed after it accepted", &door{protocol: "x", err: errors.New("no database")}, "accepted x", []string{"close 1011"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t, mem(t), Options{})
				client, _ := serve(t, h, c.consumer)
				client.wants(t, c.wrote...)
				if client.status != c.status {
					t.Errorf("the handshake: %q, want %q", client.status, c.status)
				}
			})
		})
	}
}

// slow notes whether its callbacks overlap.
type slow struct {
	Base
	t       *testing.T
	busy    sync.Mutex
	running chan struct{}
	resume  chan struct{}
	ended   chan error
}

func (s *slow) once() func() {
	if !s.busy.TryLock() {
		s.t.Error("two callbacks ran at once")
		return func() {}
	}
	return s.busy.Unlock
}

func (s *slow) Receive(ctx context.Context, _ *Conn, _ Message) error {
	defer s.once()()
	s.running <- struct{}{}
	select {
	case <-s.resume:
	case <-ctx.Done():
		s.ended <- ctx.Err()
	}
	return nil
}

func (s *slow) Event(context.Context, *Conn, Event) error {
	defer s.once()()
	s.running <- struct{}{}
	return nil
}

func TestCallbacksTakeTurnsAndEndWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		s := &slow{t: t, running: make(chan struct{}, 10), resume: make(chan struct{}), ended: make(chan error, 2)}
		c, done := serve(t, h, s)
		c.say("work")
		<-s.running
		synctest.Wait()
		var name string
		for i := range h.shards {
			for n := range h.shards[i].channels {
				name = n
			}
		}
		e, err := NewEvent("later", nil)
		if err == nil {
			err = h.Send(t.Context(), name, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(s.running) != 0 {
			t.Error("the event did not wait for its turn")
		}
		s.resume <- struct{}{}
		<-s.running
		c.say("work")
		c.say("more work")
		<-s.running
		left := time.Now()
		c.leave(closeGone)
		if err := <-s.ended; !errors.Is(err, context.Canceled) || time.Since(left) != endTime {
			t.Errorf("the callback's context ended after %v with %v, want %v", time.Since(left), err, endTime)
		}
		<-s.running // what was said before is handled
		<-done
	})
}
