package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// T is one running case: the test, the engine under it, and what cases do
// again and again. Its helpers end the test when the engine refuses.
type T struct {
	*testing.T
	engine.Set
	engine Engine
	fences engine.Fence
}

const (
	// patience is how long anything may take that should take no time.
	patience = 20 * time.Second
	// lease is the one asked for; engines may round it up to maxLease.
	lease    = slowdown * 2 * time.Second
	maxLease = 10 * time.Second
	// slack is what a loaded machine may add to a promised time.
	slack = time.Second
)

// quiet is long enough to believe that nothing comes, and shorter than a lease.
func (c *T) quiet() time.Duration {
	if c.engine.Bubble {
		return lease - time.Millisecond
	}
	return 300 * time.Millisecond
}

// within returns a context for one step of the test.
func (c *T) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(c.Context(), d)
	c.Cleanup(cancel)
	return ctx
}

func (c *T) soon() context.Context { return c.within(patience) }

// wait lets time pass: for a time to live or an age, which nothing announces.
func (c *T) wait(d time.Duration) { <-c.within(d).Done() }

// poll waits until a condition holds that nothing announces.
func (c *T) poll(d time.Duration, what string, holds func() bool) {
	c.Helper()
	end := time.Now().Add(d)
	for !holds() {
		if time.Now().After(end) {
			c.Fatalf("after %v still not: %s", d, what)
		}
		c.wait(20 * time.Millisecond)
	}
}

// on is the same case on another set.
func (c *T) on(s engine.Set) *T { return &T{T: c.T, Set: s, engine: c.engine} }

// msg is a small publication on queue q.
func msg(id string) engine.Publication {
	return engine.Publication{Queue: "q", Message: engine.Message{
		ID: id, Task: "test.task", ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: []byte(`{"task":"test.task"}`), Properties: []byte(`{}`), Body: []byte(`[[],{},{}]`),
	}}
}

func msgs(n int) []engine.Publication {
	pubs := make([]engine.Publication, n)
	for i := range pubs {
		pubs[i] = msg(fmt.Sprintf("m%05d", i))
	}
	return pubs
}

// retryOf is the next round of a message.
func retryOf(d *engine.Delivery, round int, wait time.Duration) engine.Publication {
	return engine.Publication{Message: d.Message, Queue: d.Queue, Priority: d.Priority, Round: round, At: time.Now().Add(wait)}
}

func (c *T) publish(pubs ...engine.Publication) {
	c.Helper()
	receipts := c.Broker.Publish(c.soon(), pubs)
	if len(receipts) != len(pubs) {
		c.Fatalf("publish %d messages: got %d receipts", len(pubs), len(receipts))
	}
	for i, r := range receipts {
		if r.Err != nil || r.ID != pubs[i].ID {
			c.Fatalf("publish %q: got %+v, want its id and no error", pubs[i].ID, r)
		}
	}
}

// receive opens a receiver with the short lease, on queue q if none is named.
func (c *T) receive(opts engine.ReceiveOptions) engine.Receiver {
	c.Helper()
	if opts.Queues == nil {
		opts.Queues = []string{"q"}
	}
	if opts.Lease == 0 {
		opts.Lease = lease
	}
	r, err := c.Broker.Receive(c.soon(), opts)
	if err != nil {
		c.Fatalf("receive from %q: %v", opts.Queues, err)
	}
	c.Cleanup(func() { r.Close() })
	return r
}

func (c *T) receiver(queues ...string) engine.Receiver {
	c.Helper()
	return c.receive(engine.ReceiveOptions{Queues: queues})
}

// take takes n messages.
func (c *T) take(r engine.Receiver, n int) []*engine.Delivery {
	c.Helper()
	ctx := c.soon()
	var ds []*engine.Delivery
	for len(ds) < n {
		more, err := r.Take(ctx, n-len(ds))
		if err != nil {
			c.Fatalf("take %d messages: %v after %d", n, err, len(ds))
		}
		if len(more) > n-len(ds) {
			c.Fatalf("take of at most %d returned %d", n-len(ds), len(more))
		}
		ds = append(ds, more...)
	}
	return ds
}

// one takes one message.
func (c *T) one(r engine.Receiver) *engine.Delivery {
	c.Helper()
	return c.take(r, 1)[0]
}

// none takes for a while and fails if anything comes.
func (c *T) none(r engine.Receiver, d time.Duration, why string) {
	c.Helper()
	ds, err := r.Take(c.within(d), 10)
	if len(ds) > 0 {
		c.Fatalf("%s: got %d messages, the first is %q (attempt %d), want none", why, len(ds), ds[0].ID, ds[0].Attempt)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		c.Fatalf("%s: take: got %v, want the end of its context", why, err)
	}
}

// success is a settlement of a run that went well.
func success(d *engine.Delivery) engine.Settlement {
	return engine.Settlement{Delivery: d, State: &engine.State{
		ID: d.ID, Status: engine.Success, Record: []byte(`{"status":"SUCCESS","result":1}`),
	}}
}

// retry is a settlement of a run that wants another one.
func retry(d *engine.Delivery, round int, wait time.Duration) engine.Settlement {
	return engine.Settlement{Delivery: d,
		State:  &engine.State{ID: d.ID, Status: engine.Retry, Record: []byte(`{"status":"RETRY"}`)},
		Follow: []engine.Publication{retryOf(d, round, wait)},
	}
}

func verdict(d *engine.Delivery, v engine.Verdict, reason string) engine.Settlement {
	return engine.Settlement{Delivery: d, Verdict: v, Reason: reason}
}

// bury is a settlement that shelves a message as dead.
func bury(d *engine.Delivery, reason string) engine.Settlement {
	return engine.Settlement{Delivery: d, Verdict: engine.Bury, Reason: reason, State: &engine.State{
		ID: d.ID, Status: engine.Failure, Record: []byte(`{"status":"FAILURE"}`),
	}}
}

func (c *T) settle(r engine.Receiver, ss ...engine.Settlement) {
	c.Helper()
	for i, err := range c.errors(r.Settle(c.soon(), ss), len(ss)) {
		if err != nil {
			c.Fatalf("settle %q: %v", ss[i].Delivery.ID, err)
		}
	}
}

// errors checks the number of answers.
func (c *T) errors(errs []error, n int) []error {
	c.Helper()
	if len(errs) != n {
		c.Fatalf("got %d errors for %d items", len(errs), n)
	}
	return errs
}

// want fails if an error is not the wanted one.
func (c *T) want(what string, got, want error) {
	c.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		c.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// queue returns the numbers of a queue; zero if it is not known.
func (c *T) queue(name string) engine.QueueInfo {
	c.Helper()
	infos, err := c.Broker.Queues(c.soon())
	if err != nil {
		c.Fatalf("queues: %v", err)
	}
	i := slices.IndexFunc(infos, func(q engine.QueueInfo) bool { return q.Name == name })
	if i < 0 {
		return engine.QueueInfo{Name: name}
	}
	return infos[i]
}

func (c *T) shelved(s engine.Shelf) []engine.Shelved {
	c.Helper()
	list, err := c.Broker.Shelved(c.soon(), s, "", 100)
	if err != nil {
		c.Fatalf("shelf %s: %v", s, err)
	}
	return list
}

func (c *T) revoke(id string) engine.State {
	c.Helper()
	s := engine.State{ID: id, Status: engine.Revoked, Record: []byte(`{"status":"REVOKED"}`)}
	if err := c.errors(c.Broker.Revoke(c.soon(), []engine.State{s}), 1)[0]; err != nil {
		c.Fatalf("revoke %q: %v", id, err)
	}
	return s
}

func (c *T) state(id string) engine.State {
	c.Helper()
	states, err := c.Results.Get(c.soon(), []string{id})
	if err != nil || len(states) != 1 {
		c.Fatalf("get state of %q: %d states, %v", id, len(states), err)
	}
	return states[0]
}

// status fails if a task's state is not the wanted one.
func (c *T) status(id, want string) {
	c.Helper()
	if s := c.state(id); s.Status != want || s.ID != id {
		c.Errorf("state of %q: got %+v, want status %s", id, s, want)
	}
}

// records reads a stream from a position to its present end.
func (c *T) records(stream string, after engine.Position) []engine.Record {
	c.Helper()
	var all []engine.Record
	for {
		rs, err := c.Streams.Read(c.soon(), stream, after, 100)
		if err != nil {
			c.Fatalf("read stream %q: %v", stream, err)
		}
		if len(rs) == 0 {
			return all
		}
		all = append(all, rs...)
		after = rs[len(rs)-1].Pos
	}
}

// lines is the records in short: kind, attempt, number and payload.
func lines(rs []engine.Record) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = fmt.Sprintf("%s %d.%d %s", r.Kind, r.Attempt, r.N, r.Payload)
	}
	return out
}

// stream fails if a stream does not hold exactly the lines.
func (c *T) stream(name string, want ...string) {
	c.Helper()
	if got := lines(c.records(name, "")); !slices.Equal(got, want) {
		c.Errorf("stream %q:\ngot  %q\nwant %q", name, got, want)
	}
}

func (c *T) begin(stream string) engine.Fence {
	c.Helper()
	f, err := c.Streams.Begin(c.soon(), stream)
	if err != nil || f == 0 {
		c.Fatalf("begin stream %q: fence %d, %v", stream, f, err)
	}
	return f
}

// data is a batch of data records.
func data(stream string, f engine.Fence, payloads ...string) engine.Append {
	b := engine.Append{Stream: stream, Fence: f}
	for _, p := range payloads {
		b.Records = append(b.Records, engine.Entry{Payload: []byte(p)})
	}
	return b
}

func (c *T) append(batches ...engine.Append) {
	c.Helper()
	for i, err := range c.errors(c.Streams.Append(c.soon(), batches), len(batches)) {
		if err != nil {
			c.Fatalf("append to stream %q: %v", batches[i].Stream, err)
		}
	}
}

// claim makes a running task and returns its fence: by a take where the engine
// is the broker too, else as another broker would number it.
func (c *T) claim(id string) engine.Fence {
	c.Helper()
	if !c.Unified() {
		c.fences++
		return c.fences
	}
	p := msg(id)
	p.Queue = "claims"
	c.publish(p)
	return c.one(c.receive(engine.ReceiveOptions{Queues: []string{p.Queue}, Lease: maxLease})).Fence
}
