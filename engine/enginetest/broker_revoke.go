package enginetest

import (
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var revokeTests = []test{
	{"a waiting task is revoked at once", "what is not wanted is not started", "", revokeWaiting},
	{"a delayed task is revoked at once", "a reminder can be taken back", "", revokeDelayed},
	{"an unknown task is revoked ahead", "the wish may overtake the message", "", revokeUnknown},
	{"the owner of a running task is told", "Stop stops", "", revokeRunning},
	{"a revoked task may still succeed", "its owner decides, for it may be over already", "", revokeTooLate},
	{"a revoked task is not run by the next", "its owner died before it could stop", "", revokeOrphan},
	{"a revoked task that is given back is not run", "its owner stops before it saw the wish", "", revokeReturned},
	{"a finished task cannot be revoked", "what is done is done", "", revokeFinished},
	{"a retry that waits is revoked", "between two attempts a task waits", "", revokeRetry},
}

func revokeWaiting(c *T) {
	c.publish(msgs(3)...)
	c.revoke("m00001")
	c.revoke("m00001") // twice is once
	r := c.receiver()
	for i, d := range c.take(r, 2) {
		if want := []string{"m00000", "m00002"}[i]; d.ID != want {
			c.Errorf("got %q, want %q", d.ID, want)
		}
		c.settle(r, success(d))
	}
	c.none(r, c.quiet(), "a revoked message")
	c.publish(msg("m00001"))
	c.none(r, c.quiet(), "a revoked message that is published again")
	if q := c.queue("q"); q.Ready+q.Held != 0 {
		c.Errorf("after all that: %+v", q)
	}
}

func revokeDelayed(c *T) {
	p := msg("a")
	p.At = time.Now().Add(500 * time.Millisecond)
	c.publish(p)
	c.revoke("a")
	r := c.receiver()
	c.none(r, 1500*time.Millisecond, "a revoked message that was delayed")
	if q := c.queue("q"); q.Delayed+q.Ready != 0 {
		c.Errorf("after the revoke: %+v", q)
	}
}

func revokeUnknown(c *T) {
	c.revoke("a")
	c.publish(msg("a"), msg("b"))
	r := c.receiver()
	if d := c.one(r); d.ID != "b" {
		c.Errorf("got %q, want b", d.ID)
	}
	c.none(r, c.quiet(), "a message revoked before it came")
}

func revokeRunning(c *T) {
	c.publish(msgs(2)...)
	r := c.receiver()
	ds := c.take(r, 2)
	began := time.Now()
	c.revoke(ds[1].ID)
	select {
	case id := <-r.Revoked():
		if id != ds[1].ID {
			c.Errorf("told to stop %q, want %q", id, ds[1].ID)
		}
	case <-c.soon().Done():
		c.Fatal("the owner was not told")
	}
	if took := time.Since(began); took > time.Second+slack {
		c.Errorf("the owner was told after %v, want within 1s", took)
	}
	errs := c.errors(r.Extend(c.soon(), ds), 2)
	c.want("extend of the other", errs[0], nil)
	c.want("extend of the revoked", errs[1], engine.ErrRevoked)
	other := c.receiver()
	c.none(other, c.quiet(), "a task that is being stopped") // the lease was renewed all the same
	s := success(ds[1])
	s.State.Status = engine.Revoked
	c.settle(r, s, success(ds[0]))
	c.none(other, c.quiet(), "a task that was stopped")
}

func revokeTooLate(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	d := c.one(r)
	c.revoke("a")
	s := success(d)
	s.Follow = []engine.Publication{msg("next")}
	c.settle(r, s)
	if d := c.one(r); d.ID != "next" {
		c.Errorf("got %q, want the follow-up", d.ID)
	}
}

func revokeOrphan(c *T) {
	c.publish(msg("a"))
	d := c.one(c.receiver())
	c.revoke(d.ID)
	other := c.receiver()
	wait := maxLease + slack
	if c.engine.Bubble {
		wait = time.Hour
	}
	c.none(other, wait, "a revoked task whose owner died")
	if q := c.queue("q"); q.Ready+q.Held+q.Delayed != 0 {
		c.Errorf("after that: %+v", q)
	}
}

func revokeReturned(c *T) {
	for i := range 5 {
		c.publish(msg(fmt.Sprint("a", i)))
	}
	r := c.receiver()
	for _, d := range c.take(r, 5) {
		c.revoke(d.ID)
		c.settle(r, verdict(d, engine.Return, ""))
	}
	c.none(r, c.quiet(), "revoked tasks that were given back")
	if q := c.queue("q"); q.Ready+q.Held+q.Delayed != 0 {
		c.Errorf("after that: %+v", q)
	}
}

func revokeFinished(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, success(c.one(r)))
	c.revoke("a")
	c.publish(msg("b"))
	if d := c.one(r); d.ID != "b" {
		c.Errorf("got %q, want b", d.ID)
	}
	select {
	case id := <-r.Revoked():
		c.Errorf("told to stop %q, which is finished", id)
	default:
	}
}

func revokeRetry(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, retry(c.one(r), 1, 400*time.Millisecond))
	c.revoke("a")
	c.none(r, 1500*time.Millisecond, "a revoked retry")
}
