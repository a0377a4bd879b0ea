package enginetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var brokerDurableTests = []test{
	{"an accepted message survives a kill", "an ack is a promise", "restart", publishSurvives},
	{"what was held at a kill comes back counted", "a task that kills the engine must be found out", "restart", heldSurvives},
	{"a settled message stays settled over a kill", "it was done", "restart", settledSurvives},
	{"a delayed message survives a kill", "it waits in the engine, not in memory", "restart", delayedSurvives},
	{"shelves and revokes survive a kill", "people's decisions are data", "restart", shelvesSurvive},
	{"publishers get an answer over a kill", "an error or an ack, never silence", "restart", answersOverKill},
	{"a take goes on after a cut", "nobody restarts workers by hand", "cut", takeOverCut},
	{"a cut in the middle of work loses nothing", "settling is repeated until it is answered", "cut", workOverCut},
	{"processes share one queue", "a message has one owner in all of them", "reopen", processesShare},
	{"a revoke reaches another process", "Stop is pressed elsewhere", "reopen", revokeElsewhere},
	{"a broadcast reaches another process", "remote control is remote", "reopen", broadcastElsewhere},
}

func publishSurvives(c *T) {
	c.publish(msgs(200)...)
	for i := range 20 {
		c.publish(msg(fmt.Sprint("single", i)))
	}
	c = c.on(c.engine.Restart(c.T, c.Set))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	seen := map[string]bool{}
	for _, d := range c.take(r, 220) {
		if d.Deliveries != 1 || seen[d.ID] {
			c.Errorf("%q: delivery %d, seen before: %v", d.ID, d.Deliveries, seen[d.ID])
		}
		seen[d.ID] = true
	}
	c.publish(msg("m00000"))
	c.none(r, c.quiet(), "a message that is published again after the kill")
}

func heldSurvives(c *T) {
	c.publish(msgs(20)...)
	held := c.take(c.receiver(), 20)
	c = c.on(c.engine.Restart(c.T, c.Set))
	up := time.Now()
	r := c.receiver()
	fences := map[string]engine.Fence{}
	for _, d := range held {
		fences[d.ID] = d.Fence
	}
	for _, d := range c.take(r, 20) {
		if d.Attempt != 2 || d.Deliveries != 2 {
			c.Errorf("%q: got attempt %d, delivery %d, want 2, 2", d.ID, d.Attempt, d.Deliveries)
		}
		if d.Fence <= fences[d.ID] {
			c.Errorf("%q: fence went from %d to %d", d.ID, fences[d.ID], d.Fence)
		}
	}
	if took := time.Since(up); took > maxLease+slack {
		c.Errorf("what was held came back %v after the engine, want within %v", took, maxLease)
	}
}

func settledSurvives(c *T) {
	c.publish(msgs(50)...)
	r := c.receive(engine.ReceiveOptions{Lease: lease})
	for _, d := range c.take(r, 50) {
		s := success(d)
		s.Follow = []engine.Publication{msg("after " + d.ID)}
		c.settle(r, s)
	}
	c = c.on(c.engine.Restart(c.T, c.Set))
	r = c.receive(engine.ReceiveOptions{Lease: maxLease})
	for _, d := range c.take(r, 50) {
		if d.ID[:5] != "after" || d.Deliveries != 1 {
			c.Errorf("got %q, delivery %d, want a follow-up for the first time", d.ID, d.Deliveries)
		}
		c.settle(r, success(d))
	}
	c.none(r, maxLease+slack, "settled messages")
}

func delayedSurvives(c *T) {
	soon, late := msg("soon"), msg("late")
	soon.At = time.Now().Add(100 * time.Millisecond) // due while the engine is away
	late.At = time.Now().Add(4500 * time.Millisecond)
	c.publish(soon, late)
	c = c.on(c.engine.Restart(c.T, c.Set))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	if d := c.one(r); d.ID != "soon" || time.Now().Before(soon.At) {
		c.Errorf("got %q at %v, want soon after %v", d.ID, time.Now(), soon.At)
	}
	if d := c.one(r); d.ID != "late" || time.Now().Before(late.At) {
		c.Errorf("got %q at %v, want late after %v", d.ID, time.Now(), late.At)
	}
	c.none(r, c.quiet(), "delayed messages that were handed out")
}

func shelvesSurvive(c *T) {
	c.publish(msgs(3)...)
	r := c.receiver()
	ds := c.take(r, 2)
	c.settle(r, bury(ds[0], "bad"), verdict(ds[1], engine.Park, "unknown"))
	c.revoke("m00002")
	c.revoke("not yet sent")
	c = c.on(c.engine.Restart(c.T, c.Set))
	if dead, parked := c.shelved(engine.Dead), c.shelved(engine.Parked); len(dead) != 1 || len(parked) != 1 ||
		dead[0].ID != ds[0].ID || dead[0].Reason != "bad" || parked[0].ID != ds[1].ID || parked[0].Reason != "unknown" {
		c.Errorf("after the kill the shelves hold %+v and %+v", dead, parked)
	}
	r = c.receiver()
	c.publish(msg("not yet sent"))
	c.none(r, c.quiet(), "revoked and shelved messages")
	c.want("restore", c.Broker.Restore(c.soon(), engine.Parked, []string{ds[1].ID})[0], nil)
	c.one(r)
}

func answersOverKill(c *T) {
	ctx := c.within(2 * patience)
	stop := make(chan struct{})
	accepted := make([][]string, 4)
	var wg sync.WaitGroup
	for p := range accepted {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				m := msg(fmt.Sprintf("k%d-%d", p, i))
				call := time.Now()
				r := c.Broker.Publish(ctx, []engine.Publication{m})[0]
				if r.Err == nil {
					accepted[p] = append(accepted[p], m.ID)
				}
				if took := time.Since(call); took > patience {
					c.Errorf("a publish was silent for %v", took)
				}
			}
		})
	}
	c.wait(200 * time.Millisecond)
	after := c.on(c.engine.Restart(c.T, c.Set))
	c.wait(200 * time.Millisecond)
	close(stop)
	wg.Wait()
	want := map[string]bool{}
	for _, ids := range accepted {
		for _, id := range ids {
			want[id] = true
		}
	}
	r := after.receive(engine.ReceiveOptions{Lease: maxLease})
	for len(want) > 0 {
		ds, err := r.Take(after.soon(), 256)
		if err != nil {
			c.Fatalf("%d accepted messages are lost: %v", len(want), err)
		}
		ss := make([]engine.Settlement, len(ds))
		for i, d := range ds {
			ss[i] = success(d)
			delete(want, d.ID) // one that got an error may be there as well
		}
		after.settle(r, ss...)
	}
}

func takeOverCut(c *T) {
	r := c.receiver()
	taken := make(chan *engine.Delivery, 1)
	go func() {
		defer close(taken)
		if ds, err := r.Take(c.soon(), 1); err == nil && len(ds) == 1 {
			taken <- ds[0]
		} else {
			c.Errorf("take over a cut: %d messages, %v", len(ds), err)
		}
	}()
	c.wait(c.quiet())
	c.engine.Cut(c.T, c.Set)
	c.poll(patience, "a publish is accepted", func() bool {
		return c.Broker.Publish(c.soon(), []engine.Publication{msg("a")})[0].Err == nil
	})
	d, ok := <-taken
	if !ok {
		return
	}
	if d.ID != "a" {
		c.Errorf("got %q, want a", d.ID)
	}
	c.again(r, success(d))
}

// again settles until it is answered for good, as a worker does. Whether an
// answer that was lost is told as nil or as superseded is left to the engine.
func (c *T) again(r engine.Receiver, s engine.Settlement) {
	c.Helper()
	c.poll(patience, "the settlement is accepted", func() bool {
		err := r.Settle(c.soon(), []engine.Settlement{s})[0]
		return err == nil || errors.Is(err, engine.ErrSuperseded)
	})
}

func workOverCut(c *T) {
	const n = 60
	c.publish(msgs(n)...)
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	counts := map[string]int{}
	for i := range n {
		if i%20 == 10 {
			c.engine.Cut(c.T, c.Set)
		}
		d := c.one(r)
		counts[d.ID]++
		s := success(d)
		s.Follow = []engine.Publication{msg("after " + d.ID)}
		s.Follow[0].Queue = "next"
		c.again(r, s)
	}
	for id, times := range counts {
		if times != 1 {
			c.Errorf("%q was handed out %d times", id, times)
		}
	}
	next := c.receive(engine.ReceiveOptions{Queues: []string{"next"}, Lease: maxLease})
	c.take(next, n)
	c.none(next, c.quiet(), "follow-ups beyond one for each")
}

func processesShare(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	ours, theirs := c.receive(engine.ReceiveOptions{Lease: maxLease}), other.receive(engine.ReceiveOptions{Lease: maxLease})
	c.publish(msgs(50)...)
	other.publish(msg("x"), msg("m00000"))
	seen := map[string]bool{}
	for i := range 51 {
		side, r := c, ours
		if i%2 == 0 {
			side, r = other, theirs
		}
		d := side.one(r)
		if seen[d.ID] {
			c.Errorf("%q was handed out twice", d.ID)
		}
		seen[d.ID] = true
		side.settle(r, success(d))
	}
	c.none(ours, c.quiet(), "settled messages, here")
	other.none(theirs, c.quiet(), "settled messages, there")
}

func revokeElsewhere(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	d := c.one(r)
	other := c.on(c.engine.Reopen(c.T, c.Set))
	began := time.Now()
	other.revoke("a")
	select {
	case id := <-r.Revoked():
		if took := time.Since(began); id != "a" || took > time.Second+slack {
			c.Errorf("told to stop %q after %v, want a within 1s", id, took)
		}
	case <-c.soon().Done():
		c.Error("the owner was not told")
	}
	c.want("extend", r.Extend(c.soon(), []*engine.Delivery{d})[0], engine.ErrRevoked)
}

func broadcastElsewhere(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	topic := engine.Topic{Exchange: "control"}
	seq := other.listen(c.soon(), topic)
	c.broadcast(topic, "ping")
	for m := range seq {
		if string(m.Body) != "ping" {
			c.Errorf("got %q, want ping", m.Body)
		}
		return
	}
	c.Error("nothing was heard")
}
