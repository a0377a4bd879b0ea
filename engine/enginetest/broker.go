package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var brokerTests = []test{
	{"a message arrives as it was sent", "engines carry parts untouched, whatever the bytes", "", arrivesIntact},
	{"messages come in order", "a queue is first in, first out within a priority", "", inOrder},
	{"priorities are strict", "an urgent task must not wait behind others", "", strictPriorities},
	{"queues take turns", "a full queue must not starve another one", "", queuesTakeTurns},
	{"an idle take is woken", "nothing polls, and work starts at once", "", takeWakes},
	{"takes at once share what is there", "one batch is asked for while another is claimed", "", takesAtOnce},
	{"a take ends with its context", "a worker must be able to stop", "", takeEnds},
	{"a take holds only what it returns", "no worker hoards while another idles", "", holdsOnlyTaken},
	{"each message has one owner", "a task is not run twice by live workers", "", oneOwner},
	{"a republished message is one", "a publisher that got no answer sends again", "", republished},
	{"a key carries one message", "an idempotent call attaches to the first", "", keyed},
	{"a key is given to one of many", "callers race for it", "", keyRace},
	{"a key expires", "the same call tomorrow is another call", "", keyExpires},
	{"a batch is accepted in parts", "one bad message must not refuse the others", "", partialBatch},
	{"nothing in, nothing out", "callers need no special case for an empty batch", "", emptyBatches},
	{"limits are exact", "what one engine takes every engine takes, and no engine drops it later", "", limits},
	{"names may hold anything", "ids and queues come from other people's systems", "", oddNames},
	{"queues tell their numbers", "people watch them", "", queueNumbers},
	{"a purge drops what waits", "and nothing that runs", "", purges},
	{"a broadcast reaches all who listen", "control commands and events go to every worker", "", broadcasts},
	{"a topic's key picks who hears", "monitors hear all, workers their own", "", broadcastKeys},
	{"a listener ends with its context", "it must not leak", "", listenEnds},
	{"topics are checked", "they become names in other systems", "", topics},
	{"a closed receiver takes nothing", "stopping is final and may be said twice", "", closedReceiver},
	{"a closed engine says so", "callers tell it from an outage", "", closedBroker},
	{"a queue behaves as the model does", "whatever is done in whatever order", "", brokerModel},
	{"a ping tells whether it answers", "readiness checks ask it", "ping", pings},
}

func arrivesIntact(c *T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	p := engine.Publication{Queue: "q", Priority: 3, Message: engine.Message{
		ID: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", Task: "mail.send", ContentType: "application/x-thing",
		ContentEncoding: "binary", Headers: []byte(`{"task": "mail.send",  "x":[1]}`), Properties: []byte(`{"reply_to":"ü"}`), Body: every,
	}}
	bare := engine.Publication{Queue: "q", Priority: 9, Message: engine.Message{ID: "bare", ContentType: "application/json", ContentEncoding: "utf-8"}}
	c.publish(p, bare)
	r := c.receiver()
	ds := c.take(r, 2)
	for i, want := range []engine.Publication{p, bare} {
		got := ds[i]
		if !equalMessages(got.Message, want.Message) {
			c.Errorf("message:\ngot  %+v\nwant %+v", got.Message, want.Message)
		}
		if got.Queue != want.Queue || engine.Step(got.Priority) != engine.Step(want.Priority) {
			c.Errorf("%q: got queue %q, priority %d, want %q, %d", want.ID, got.Queue, got.Priority, want.Queue, want.Priority)
		}
		if got.Attempt != 1 || got.Deliveries != 1 || got.Fence == 0 {
			c.Errorf("%q: got attempt %d, delivery %d, fence %d, want 1, 1 and not 0", want.ID, got.Attempt, got.Deliveries, got.Fence)
		}
		if age := time.Since(got.Taken); age < -slack || age > patience {
			c.Errorf("%q: taken %v ago", want.ID, age)
		}
	}
}

// equalMessages compares what was sent with what came. A carrier may write
// properties of its own beside those of the message, and the id among them.
func equalMessages(got, sent engine.Message) bool {
	headers := sent.Headers
	if len(headers) == 0 {
		headers = []byte("{}") // as Message says
	}
	if len(got.Headers) == 0 {
		got.Headers = []byte("{}")
	}
	return got.ID == sent.ID && got.Task == sent.Task && got.ContentType == sent.ContentType && got.ContentEncoding == sent.ContentEncoding &&
		bytes.Equal(got.Headers, headers) && bytes.Equal(got.Body, sent.Body) && holdsAll(got.Properties, sent.Properties)
}

func holdsAll(got, sent []byte) bool {
	var g, s map[string]any
	if len(sent) == 0 {
		return true
	}
	if json.Unmarshal(got, &g) != nil || json.Unmarshal(sent, &s) != nil {
		return bytes.Equal(got, sent)
	}
	for k, v := range s {
		if !reflect.DeepEqual(g[k], v) {
			return false
		}
	}
	return true
}

func inOrder(c *T) {
	pubs := msgs(300)
	c.publish(pubs[:200]...)
	for _, p := range pubs[200:] {
		c.publish(p)
	}
	r := c.receiver()
	for i, d := range c.take(r, len(pubs)) {
		if d.ID != pubs[i].ID {
			c.Fatalf("message %d: got %q, want %q", i, d.ID, pubs[i].ID)
		}
	}
}

func strictPriorities(c *T) {
	r := c.receive(engine.ReceiveOptions{Queues: []string{"q", "other"}, Lease: maxLease})
	var want [4][]string
	for i := range 80 {
		p := msg(fmt.Sprintf("p%d-%d", i%10, i))
		p.Priority = i % 10
		if i%3 == 0 {
			p.Queue = "other"
		}
		c.publish(p)
		step := engine.Step(p.Priority)
		want[step] = append(want[step], p.ID)
	}
	var got []string
	for range 80 {
		got = append(got, c.one(r).ID)
	}
	for _, ids := range want {
		first := got[:len(ids)]
		got = got[len(ids):]
		slices.Sort(first)
		slices.Sort(ids)
		if !slices.Equal(first, ids) {
			c.Fatalf("one step: got %q, want %q", first, ids)
		}
	}
}

func queuesTakeTurns(c *T) {
	for _, q := range []string{"full", "small"} {
		for i := range 20 {
			p := msg(fmt.Sprintf("%s-%d", q, i))
			p.Queue = q
			c.publish(p)
		}
	}
	r := c.receiver("full", "small")
	seen := map[string]int{}
	for range 10 {
		seen[c.one(r).Queue]++
	}
	if seen["full"] < 3 || seen["small"] < 3 {
		c.Errorf("ten single takes from two queues: got %v, want at least three of each", seen)
	}
}

func takeWakes(c *T) {
	r := c.receiver()
	c.none(r, c.quiet(), "an empty engine")
	for i := range 20 {
		var wg sync.WaitGroup
		var d *engine.Delivery
		began := time.Now()
		wg.Go(func() {
			if ds, err := r.Take(c.soon(), 10); err == nil && len(ds) == 1 {
				d = ds[0]
			}
		})
		c.publish(msg(fmt.Sprint("w", i)))
		wg.Wait()
		if d == nil || d.ID != fmt.Sprint("w", i) {
			c.Fatalf("take %d: got %+v", i, d)
		}
		if took := time.Since(began); took > slack {
			c.Errorf("take %d: woken after %v", i, took)
		}
		c.settle(r, success(d))
	}
}

func takesAtOnce(c *T) {
	r := c.receiver()
	const n = 4
	for round := range 5 {
		got := make(chan *engine.Delivery, n)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				ds, err := r.Take(c.soon(), 1)
				if err != nil || len(ds) != 1 {
					c.Errorf("one of %d takes: %d messages, %v", n, len(ds), err)
					return
				}
				got <- ds[0]
			})
		}
		c.wait(c.quiet() / 10)
		var ms []engine.Publication
		for i := range n {
			ms = append(ms, msg(fmt.Sprint("w", round, ".", i)))
		}
		c.publish(ms...)
		wg.Wait()
		close(got)
		seen := map[string]bool{}
		for d := range got {
			if seen[d.ID] {
				c.Errorf("%s was taken twice", d.ID)
			}
			seen[d.ID] = true
			c.settle(r, success(d))
		}
	}
}

func takeEnds(c *T) {
	r := c.receiver()
	ctx, cancel := context.WithCancel(c.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.Take(ctx, 1)
		ended <- err
	}()
	c.wait(c.quiet())
	cancelled := time.Now()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		c.Errorf("cancelled take: got %v, want its context's error", err)
	}
	if took := time.Since(cancelled); took > slack {
		c.Errorf("the take ended %v after its context", took)
	}
	c.publish(msg("a"))
	if ds, err := r.Take(ctx, 1); !errors.Is(err, context.Canceled) || len(ds) > 0 {
		c.Errorf("take with a dead context: got %d messages, %v", len(ds), err)
	}
	if d := c.one(r); d.ID != "a" || d.Deliveries != 1 {
		c.Errorf("take after that: got %q, delivery %d, want a, 1", d.ID, d.Deliveries)
	}
}

func holdsOnlyTaken(c *T) {
	c.publish(msgs(10)...)
	hoarder := c.receiver()
	c.take(hoarder, 3)
	other := c.receiver()
	ds := c.take(other, 7)
	for _, d := range ds {
		if d.Deliveries != 1 {
			c.Errorf("%q was handed out %d times", d.ID, d.Deliveries)
		}
	}
}

func oneOwner(c *T) {
	const publishers, takers, each = 8, 6, 100
	var senders, workers sync.WaitGroup
	ctx, stop := context.WithCancel(c.soon())
	defer stop()
	seen := &tally{counts: map[string]int{}, enough: publishers * each, stop: stop}
	for range takers {
		r := c.receive(engine.ReceiveOptions{Lease: maxLease})
		workers.Go(func() { c.work(ctx, r, seen) })
	}
	for p := range publishers {
		senders.Go(func() {
			for i := range each / 10 {
				var pubs []engine.Publication
				for j := range 10 {
					pubs = append(pubs, msg(fmt.Sprintf("%d-%d-%d", p, i, j)))
				}
				for _, r := range c.Broker.Publish(c.Context(), pubs) {
					if r.Err != nil {
						c.Errorf("publish: %v", r.Err)
					}
				}
			}
		})
	}
	senders.Wait()
	workers.Wait()
	if len(seen.counts) != publishers*each {
		c.Fatalf("got %d messages, want %d", len(seen.counts), publishers*each)
	}
	for id, n := range seen.counts {
		if n != 1 {
			c.Errorf("%q was handed out %d times", id, n)
		}
	}
	if q := c.queue("q"); q.Ready+q.Held+q.Delayed != 0 {
		c.Errorf("after all were settled: %+v", q)
	}
}

// tally counts deliveries, and calls stop when there were enough.
type tally struct {
	enough int
	stop   func()

	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(ds []*engine.Delivery) (all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range ds {
		t.counts[d.ID]++
	}
	return len(t.counts) == t.enough
}

// work takes and settles until ctx ends or all was seen.
func (c *T) work(ctx context.Context, r engine.Receiver, seen *tally) {
	for {
		ds, err := r.Take(ctx, 16)
		if err != nil {
			return
		}
		ss := make([]engine.Settlement, len(ds))
		for i, d := range ds {
			ss[i] = success(d)
		}
		all := seen.add(ds)
		for i, err := range r.Settle(c.Context(), ss) {
			if err != nil {
				c.Errorf("settle %q: %v", ds[i].ID, err)
			}
		}
		if all {
			seen.stop()
		}
	}
}
