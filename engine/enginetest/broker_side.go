package enginetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func queueNumbers(c *T) {
	if infos, err := c.Broker.Queues(c.soon()); err != nil || len(infos) != 0 {
		c.Errorf("queues of an empty engine: got %v, %v", infos, err)
	}
	c.publish(msgs(5)...)
	delayed := msg("later")
	delayed.At = time.Now().Add(time.Hour)
	far := msg("much later")
	far.At = time.Now().Add(30 * 24 * time.Hour)
	urgent := msg("urgent")
	urgent.Queue = "b"
	r := c.receiver()
	c.publish(delayed, far, urgent)
	held := c.take(r, 2)
	c.wait(50 * time.Millisecond)
	infos, err := c.Broker.Queues(c.soon())
	if err != nil || len(infos) != 2 || infos[0].Name != "b" || infos[1].Name != "q" {
		c.Fatalf("queues: got %v, %v, want b and q", infos, err)
	}
	q := infos[1]
	if q.Ready != 3 || q.Delayed != 2 || q.Held != 2 {
		c.Errorf("queue q: got %+v, want 3 ready, 2 delayed, 2 held", q)
	}
	if q.Oldest < 0 || q.Oldest > patience {
		c.Errorf("queue q: the oldest waits for %v", q.Oldest)
	}
	c.settle(r, success(held[0]), success(held[1]))
	if q := c.queue("q"); q.Ready != 3 || q.Held != 0 {
		c.Errorf("queue q after two were settled: got %+v, want 3 ready, 0 held", q)
	}
}

func purges(c *T) {
	c.publish(msgs(6)...)
	delayed := msg("later")
	delayed.At = time.Now().Add(time.Hour)
	kept := msg("kept")
	kept.Queue = "other"
	r := c.receiver()
	c.publish(delayed, kept)
	ds := c.take(r, 2)
	if n, err := c.Broker.Purge(c.soon(), "q"); n != 5 || err != nil {
		c.Errorf("purge: got %d, %v, want 5", n, err)
	}
	if q := c.queue("q"); q.Ready != 0 || q.Delayed != 0 || q.Held != 2 {
		c.Errorf("after the purge: got %+v, want only 2 held", q)
	}
	c.settle(r, success(ds[0]), success(ds[1]))
	c.one(c.receiver("other"))
	if n, err := c.Broker.Purge(c.soon(), "never heard of"); n != 0 || err != nil {
		c.Errorf("purge of an unknown queue: got %d, %v, want 0", n, err)
	}
	c.publish(msg("new"))
	if d := c.one(r); d.ID != "new" {
		c.Errorf("after the purge: got %q, want new", d.ID)
	}
}

// said is a small broadcast message.
func said(text string) engine.Message {
	return engine.Message{ContentType: "application/json", ContentEncoding: "utf-8", Headers: []byte(`{"hostname":"ü"}`), Body: []byte(text)}
}

func (c *T) broadcast(to engine.Topic, text string) {
	c.Helper()
	if err := c.Broker.Broadcast(c.soon(), to, said(text)); err != nil {
		c.Fatalf("broadcast to %+v: %v", to, err)
	}
}

func (c *T) listen(ctx context.Context, to engine.Topic) iter.Seq[engine.Message] {
	c.Helper()
	seq, err := c.Broker.Listen(ctx, to)
	if err != nil {
		c.Fatalf("listen to %+v: %v", to, err)
	}
	return seq
}

func broadcasts(c *T) {
	topic := engine.Topic{Exchange: "celeryev.x-1", Key: "worker.heartbeat"}
	c.broadcast(topic, "before")
	const n = 50
	got := make([][]string, 2)
	var wg sync.WaitGroup
	for i := range got {
		seq := c.listen(c.soon(), topic)
		wg.Go(func() {
			for m := range seq {
				if want := said(""); m.ContentType != want.ContentType || m.ContentEncoding != want.ContentEncoding || string(m.Headers) != string(want.Headers) {
					c.Errorf("heard %+v, want the type and headers of %+v", m, want)
				}
				if got[i] = append(got[i], string(m.Body)); len(got[i]) == n {
					return
				}
			}
		})
	}
	c.broadcast(engine.Topic{Exchange: "celeryev"}, "another topic")
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("\x00 payload ", i))
		c.broadcast(topic, want[i])
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], want) {
			c.Errorf("listener %d: got %q, want %q", i, got[i], want)
		}
	}
}

// broadcastKeys says who hears what by one letter for each sender.
func broadcastKeys(c *T) {
	sends := []engine.Topic{
		{Exchange: "ev"}, {Exchange: "ev", Key: "worker.online"}, {Exchange: "ev", Key: "worker.elect.ack"},
		{Exchange: "ev", Key: "task.multi"}, {Exchange: "ev.worker", Key: "online"}, {Exchange: "ev", Key: "worker.online", Direct: true},
		{Exchange: "reply.ev", Key: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", Direct: true},
	}
	tests := []struct {
		to   engine.Topic
		want string
	}{
		{engine.Topic{Exchange: "ev", Key: "#"}, "abcd"},
		{engine.Topic{Exchange: "ev"}, "a"},
		{engine.Topic{Exchange: "ev", Key: "worker.#"}, "bc"},
		{engine.Topic{Exchange: "ev", Key: "worker.online"}, "b"},
		{engine.Topic{Exchange: "ev", Key: "worker.online", Direct: true}, "f"},
		{sends[6], "g"},
	}
	ctx, cancel := context.WithCancel(c.soon())
	defer cancel()
	var wg sync.WaitGroup
	for _, tt := range tests {
		seq := c.listen(ctx, tt.to)
		wg.Go(func() {
			got := ""
			for m := range seq {
				if got += string(m.Body); len(got) > len(tt.want) {
					break
				}
			}
			if got != tt.want {
				c.Errorf("who listens to %+v heard %q, want %q", tt.to, got, tt.want)
			}
		})
	}
	for i, to := range sends {
		c.broadcast(to, string(rune('a'+i)))
	}
	c.wait(c.quiet())
	cancel()
	wg.Wait()
}

func listenEnds(c *T) {
	ctx, cancel := context.WithCancel(c.Context())
	seq := c.listen(ctx, engine.Topic{Exchange: "x"})
	c.listen(ctx, engine.Topic{Exchange: "x"}) // never ranged over
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range seq {
		}
	}()
	cancelled := time.Now()
	cancel()
	<-ended
	if took := time.Since(cancelled); took > slack {
		c.Errorf("the listener ended %v after its context", took)
	}
}

func topics(c *T) {
	for _, name := range []string{"", "a b", "a*", ">", "ü", "a/b", "a..b", ".a"} {
		both := []engine.Topic{{Exchange: name}, {Exchange: "x", Key: name}, {Exchange: "x", Key: name, Direct: true}}
		if name == "" { // as a key it is one
			both = both[:1]
		}
		for _, topic := range both {
			c.want(fmt.Sprintf("broadcast to %+v", topic), c.Broker.Broadcast(c.soon(), topic, said("x")), engine.ErrLimit)
			_, err := c.Broker.Listen(c.soon(), topic)
			c.want(fmt.Sprintf("listen to %+v", topic), err, engine.ErrLimit)
		}
	}
	c.want("broadcast to all keys", c.Broker.Broadcast(c.soon(), engine.Topic{Exchange: "x", Key: "#"}, said("x")), engine.ErrLimit)
	_, err := c.Broker.Listen(c.soon(), engine.Topic{Exchange: "x", Key: "#", Direct: true})
	c.want("listen to all mailboxes", err, engine.ErrLimit)
	big := said(strings.Repeat("x", engine.MaxMessage))
	c.want("too large a message", c.Broker.Broadcast(c.soon(), engine.Topic{Exchange: "x"}, big), engine.ErrLimit)
}

func closedReceiver(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.one(r)
	other := c.receiver("nothing")
	ended := make(chan error, 1)
	go func() {
		_, err := other.Take(c.soon(), 1)
		ended <- err
	}()
	c.wait(c.quiet() / 2)
	for range 2 {
		c.want("close", other.Close(), nil)
		c.want("close", r.Close(), nil)
	}
	c.want("the take that waited", <-ended, engine.ErrClosed)
	_, err := r.Take(c.soon(), 1)
	c.want("take after close", err, engine.ErrClosed)
	if _, open := <-r.Revoked(); open {
		c.Error("Revoked yields after close")
	}
	if d := c.one(c.receiver()); d.ID != "a" || d.Deliveries != 2 {
		c.Errorf("what it held: got %q, delivery %d, want a, 2", d.ID, d.Deliveries)
	}
}

func closedBroker(c *T) {
	r := c.receiver()
	ended := make(chan error, 1)
	go func() {
		_, err := r.Take(c.soon(), 1)
		ended <- err
	}()
	seq, err := c.Broker.Listen(c.soon(), engine.Topic{Exchange: "x"})
	if err != nil {
		c.Fatal(err)
	}
	c.wait(c.quiet())
	for range 2 {
		c.want("close", c.Broker.Close(), nil)
	}
	c.want("the take that waited", <-ended, engine.ErrClosed)
	for range seq {
	}
	b, ctx := c.Broker, c.soon()
	c.want("publish", b.Publish(ctx, msgs(1))[0].Err, engine.ErrClosed)
	_, err = b.Receive(ctx, engine.ReceiveOptions{Queues: []string{"q"}})
	c.want("receive", err, engine.ErrClosed)
	_, err = r.Take(ctx, 1)
	c.want("take", err, engine.ErrClosed)
	c.want("revoke", b.Revoke(ctx, []engine.State{{ID: "a", Status: engine.Revoked}})[0], engine.ErrClosed)
	c.want("broadcast", b.Broadcast(ctx, engine.Topic{Exchange: "x"}, said("x")), engine.ErrClosed)
	_, err = b.Listen(ctx, engine.Topic{Exchange: "x"})
	c.want("listen", err, engine.ErrClosed)
	_, err = b.Queues(ctx)
	c.want("queues", err, engine.ErrClosed)
	_, err = b.Purge(ctx, "q")
	c.want("purge", err, engine.ErrClosed)
	_, err = b.Shelved(ctx, engine.Dead, "", 1)
	c.want("shelved", err, engine.ErrClosed)
	c.want("restore", b.Restore(ctx, engine.Dead, []string{"a"})[0], engine.ErrClosed)
	c.want("drop", b.Drop(ctx, engine.Dead, []string{"a"})[0], engine.ErrClosed)
	c.want("close of the receiver", r.Close(), nil)
}

func pings(c *T) {
	p := c.Broker.(engine.Pinger)
	c.want("ping", p.Ping(c.soon()), nil)
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	if err := p.Ping(ctx); err != nil && !errors.Is(err, context.Canceled) {
		c.Errorf("ping with a dead context: %v", err)
	}
	c.Broker.Close()
	c.want("ping when closed", p.Ping(c.soon()), engine.ErrClosed)
}
