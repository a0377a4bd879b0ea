package enginetest

import (
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var settleTests = []test{
	{"what a silent owner held comes back", "a worker that dies must not lose its tasks", "", comesBack},
	{"an extended message stays", "a live task is never given out twice, however long it runs", "", extended},
	{"an extended batch answers one by one", "a worker renews all it holds in one call", "", extendBatch},
	{"a settled message is gone", "and cannot be settled again", "", settledOnce},
	{"an old owner settles nothing", "its work was done again by another", "", staleSettle},
	{"an old owner gives nothing back", "that would make a third copy", "", staleReturn},
	{"a lease that is over may still be settled", "nobody has it yet, and the work is done", "", lateSettle},
	{"a returned message is out at once", "a worker that stops burns no attempt", "", returned},
	{"a retry is the next attempt", "attempts count runs, deliveries count crashes", "", retried},
	{"a retry waits in the engine", "its worker may be gone by then", "", retryWaits},
	{"follow-ups are sent once", "a chain goes on, and only once", "", followOnce},
	{"a refused settlement changes nothing", "it can be handed in again, smaller", "", refusedSettle},
	{"settlements are answered one by one", "a stale one must not stop the others", "", settleBatch},
}

func comesBack(c *T) {
	c.publish(msgs(5)...)
	dead, live := c.receiver(), c.receiver()
	began := time.Now()
	old := c.take(dead, 5)
	fences := map[string]engine.Fence{}
	for _, d := range old {
		fences[d.ID] = d.Fence
	}
	for _, d := range c.take(live, 5) {
		after := time.Since(began)
		if after < lease-10*time.Millisecond {
			c.Errorf("%q was handed out again after %v, within its lease of %v", d.ID, after, lease)
		}
		if after > maxLease+slack {
			c.Errorf("%q came back after %v, want within %v", d.ID, after, maxLease)
		}
		if d.Attempt != 2 || d.Deliveries != 2 {
			c.Errorf("%q: got attempt %d, delivery %d, want 2, 2", d.ID, d.Attempt, d.Deliveries)
		}
		if d.Fence <= fences[d.ID] {
			c.Errorf("%q: fence went from %d to %d, want it to grow", d.ID, fences[d.ID], d.Fence)
		}
	}
}

func extended(c *T) {
	c.publish(msg("long"))
	owner, other := c.receiver(), c.receiver()
	d := c.one(owner)
	total := maxLease + 2*time.Second
	if c.engine.Bubble {
		total = 3 * time.Hour
	}
	for end := time.Now().Add(total); time.Now().Before(end); {
		c.none(other, lease/4, "a task that is extended")
		if err := c.errors(owner.Extend(c.soon(), []*engine.Delivery{d}), 1)[0]; err != nil {
			c.Fatalf("extend: %v", err)
		}
	}
	c.settle(owner, success(d))
	c.none(other, c.quiet(), "a task that was settled")
}

func extendBatch(c *T) {
	c.publish(msgs(4)...)
	r := c.receiver()
	ds := c.take(r, 4)
	c.settle(r, success(ds[1]), retry(ds[2], 1, time.Hour))
	errs := c.errors(r.Extend(c.soon(), ds), 4)
	for i, want := range []error{nil, engine.ErrSuperseded, engine.ErrSuperseded, nil} {
		c.want(fmt.Sprintf("extend %d", i), errs[i], want)
	}
}

func settledOnce(c *T) {
	c.publish(msgs(2)...)
	r := c.receiver()
	ds := c.take(r, 2)
	c.settle(r, success(ds[0]), engine.Settlement{Delivery: ds[1]}) // the second keeps nothing
	for _, d := range ds {
		c.want("settle again", r.Settle(c.soon(), []engine.Settlement{success(d)})[0], engine.ErrSuperseded)
		c.want("give back after that", r.Settle(c.soon(), []engine.Settlement{verdict(d, engine.Return, "")})[0], engine.ErrSuperseded)
		c.want("bury after that", r.Settle(c.soon(), []engine.Settlement{bury(d, "x")})[0], engine.ErrSuperseded)
		c.want("extend after that", r.Extend(c.soon(), []*engine.Delivery{d})[0], engine.ErrSuperseded)
	}
	c.none(r, c.quiet(), "settled messages")
	if n := len(c.shelved(engine.Dead)); n != 0 {
		c.Errorf("%d messages are on the shelf", n)
	}
	if q := c.queue("q"); q.Ready+q.Delayed+q.Held != 0 {
		c.Errorf("after all were settled: %+v", q)
	}
}

// superseded makes a delivery whose message another receiver took since.
func superseded(c *T) (r engine.Receiver, stale, live *engine.Delivery) {
	c.publish(msg("a"))
	r = c.receiver()
	stale = c.one(r)
	other := c.receive(engine.ReceiveOptions{Lease: maxLease})
	return r, stale, c.one(other)
}

func staleSettle(c *T) {
	r, stale, live := superseded(c)
	s := success(stale)
	s.Follow = []engine.Publication{msg("follow-up")}
	c.want("settle by the old owner", r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrSuperseded)
	c.want("extend by the old owner", r.Extend(c.soon(), []*engine.Delivery{stale})[0], engine.ErrSuperseded)
	c.none(r, c.quiet(), "the follow-up of a refused settlement")
	if q := c.queue("q"); q.Held != 1 {
		c.Errorf("after the refused settlement: %+v, want the message still held", q)
	}
	// The live owner settles with the same receiver: it is the claim that counts.
	c.settle(r, success(live))
}

func staleReturn(c *T) {
	r, stale, live := superseded(c)
	for _, v := range []engine.Verdict{engine.Return, engine.Park, engine.Bury} {
		s := verdict(stale, v, "old")
		if v == engine.Bury {
			s = bury(stale, "old")
		}
		c.want(fmt.Sprintf("verdict %d by the old owner", v), r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrSuperseded)
	}
	s := retry(stale, 1, 0)
	c.want("retry by the old owner", r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrSuperseded)
	c.none(r, c.quiet(), "a message that another one runs")
	c.settle(r, success(live))
	if n := len(c.shelved(engine.Dead)) + len(c.shelved(engine.Parked)); n != 0 {
		c.Errorf("%d messages are on shelves", n)
	}
}

func lateSettle(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	d := c.one(r)
	if c.engine.Bubble {
		c.wait(time.Minute)
	} else {
		c.wait(lease + slack)
	}
	s := success(d)
	s.Follow = []engine.Publication{msg("follow-up")}
	c.settle(r, s)
	if d := c.one(r); d.ID != "follow-up" {
		c.Errorf("after the late settlement: got %q, want the follow-up", d.ID)
	}
}

func returned(c *T) {
	c.publish(msgs(3)...)
	r := c.receive(engine.ReceiveOptions{MaxDeliveries: 2, Lease: maxLease})
	for range 5 {
		began := time.Now()
		ds := c.take(r, 3)
		if took := time.Since(began); took > slack {
			c.Errorf("returned messages came back after %v", took)
		}
		var back []engine.Settlement
		for _, d := range ds {
			if d.Attempt != 1 || d.Deliveries != 1 {
				c.Errorf("%q: got attempt %d, delivery %d, want 1, 1", d.ID, d.Attempt, d.Deliveries)
			}
			back = append(back, verdict(d, engine.Return, ""))
		}
		c.settle(r, back...)
		c.want("give back twice", r.Settle(c.soon(), back[:1])[0], engine.ErrSuperseded)
	}
	for _, d := range c.take(r, 3) {
		c.settle(r, success(d))
	}
	c.none(r, c.quiet(), "messages that were given back and then settled")
}

func retried(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{MaxDeliveries: 2})
	for round := 1; round <= 4; round++ {
		d := c.one(r)
		if d.ID != "a" || d.Attempt != round || d.Deliveries != 1 {
			c.Fatalf("round %d: got %q, attempt %d, delivery %d, want a, %d, 1", round, d.ID, d.Attempt, d.Deliveries, round)
		}
		c.settle(r, retry(d, round, 0))
		c.want("retry twice", r.Settle(c.soon(), []engine.Settlement{retry(d, round, 0)})[0], engine.ErrSuperseded)
	}
	d := c.one(r)
	c.settle(r, success(d))
	c.publish(retryOf(d, 2, 0))
	c.none(r, c.quiet(), "an old round of a finished task")
}

func retryWaits(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	s := retry(c.one(r), 1, 1200*time.Millisecond)
	due := s.Follow[0].At
	c.settle(r, s)
	if q := c.queue("q"); q.Delayed != 1 || q.Held != 0 || q.Ready != 0 {
		c.Errorf("while the retry waits: %+v, want 1 delayed", q)
	}
	r.Close()
	c.punctual(c.one(c.receiver()), due)
}

// punctual fails if a delivery came before its time or too late.
func (c *T) punctual(d *engine.Delivery, due time.Time) {
	c.Helper()
	late := time.Since(due)
	if late < 0 {
		c.Errorf("%q came %v early", d.ID, -late)
	}
	if late > time.Second+slack || c.engine.Bubble && late > time.Second {
		c.Errorf("%q came %v late, want at most 1s", d.ID, late)
	}
}

func followOnce(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	s := success(c.one(r))
	next, urgent, later := msg("next"), msg("urgent"), msg("later")
	urgent.Queue = "other"
	later.At = time.Now().Add(time.Hour)
	s.Follow = []engine.Publication{next, urgent, later}
	c.settle(r, s)
	c.want("settle again", r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrSuperseded)
	both := c.receiver("q", "other")
	for _, d := range c.take(both, 2) {
		if d.ID == "urgent" != (d.Queue == "other") || d.Attempt != 1 || d.Deliveries != 1 {
			c.Errorf("follow-up: got %+v", d)
		}
		c.settle(both, success(d))
	}
	c.none(both, c.quiet(), "follow-ups that were taken")
	c.publish(next)
	c.none(both, c.quiet(), "a follow-up that is published again")
	if q := c.queue("q"); q.Delayed != 1 {
		c.Errorf("the delayed follow-up: %+v, want 1 delayed", q)
	}
}

func refusedSettle(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	d := c.one(r)
	s := success(d)
	good, bad := msg("good"), msg("bad")
	bad.Body = make([]byte, engine.MaxMessage+1)
	s.Follow = []engine.Publication{good, bad}
	c.want("settle with too large a follow-up", r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrLimit)
	c.none(r, c.quiet(), "follow-ups of a refused settlement")
	s.Follow = s.Follow[:1]
	c.settle(r, s)
	if d := c.one(r); d.ID != "good" {
		c.Errorf("got %q, want the follow-up", d.ID)
	}
}

func settleBatch(c *T) {
	c.publish(msgs(6)...)
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	ds := c.take(r, 6)
	c.settle(r, success(ds[1]))
	tooLarge := success(ds[4])
	tooLarge.State.Record = make([]byte, engine.MaxRecord+1)
	errs := c.errors(r.Settle(c.soon(), []engine.Settlement{
		success(ds[0]), success(ds[1]), verdict(ds[2], engine.Return, ""), bury(ds[3], "bad"), tooLarge, success(ds[5]),
	}), 6)
	for i, want := range []error{nil, engine.ErrSuperseded, nil, nil, engine.ErrLimit, nil} {
		c.want(fmt.Sprintf("settlement %d", i), errs[i], want)
	}
	if d := c.one(r); d.ID != ds[2].ID {
		c.Errorf("got %q, want the one that was given back, %q", d.ID, ds[2].ID)
	}
	if q := c.queue("q"); q.Held != 2 {
		c.Errorf("after the batch: %+v, want 2 held", q)
	}
}
