package enginetest

import (
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var delayTests = []test{
	{"a delayed message is never early", "an ETA is a promise, to the fraction of a second", "", neverEarly},
	{"a time that is past means now", "a retry may be late already", "", pastMeansNow},
	{"delayed messages keep priority and content", "they waited as what they are", "", delayedIntact},
	{"many are due at one instant", "campaigns start at nine o'clock sharp", "", manyDue},
	{"a message far ahead waits", "a reminder for next year is a message too", "", farAhead},
	{"a delayed message may be due while nobody takes", "it is ready when a worker comes", "", dueWhileAway},
}

func neverEarly(c *T) {
	r := c.receiver()
	due := map[string]time.Time{}
	start := time.Now()
	for i, wait := range []time.Duration{50, 333, 999, 1001, 1500, 1999, 2250, 3100} {
		p := msg(fmt.Sprint("d", i))
		p.At = start.Add(wait * time.Millisecond)
		due[p.ID] = p.At
		c.publish(p)
	}
	for range due {
		d := c.one(r)
		c.punctual(d, due[d.ID])
		c.settle(r, success(d))
	}
}

func pastMeansNow(c *T) {
	p, zone := msg("past"), msg("zone")
	p.At = time.Now().Add(-24 * time.Hour)
	zone.At = time.Now().Add(-time.Millisecond).In(time.FixedZone("far east", 14*3600))
	c.publish(p, zone)
	began := time.Now()
	c.take(c.receiver(), 2)
	if took := time.Since(began); took > slack {
		c.Errorf("messages that are due came after %v", took)
	}
}

func delayedIntact(c *T) {
	at := time.Now().Add(600 * time.Millisecond)
	low, high := msg("low"), msg("high")
	low.Priority, low.At = 9, at
	high.Priority, high.At = 0, at
	high.Body = []byte("\x00\xff body")
	r := c.receiver()
	c.publish(low, high)
	if q := c.queue("q"); q.Delayed != 2 || q.Ready != 0 {
		c.Errorf("while they wait: %+v, want 2 delayed", q)
	}
	c.poll(maxLease, "both are ready", func() bool { return c.queue("q").Ready == 2 })
	ds := c.take(r, 2)
	for i, want := range []engine.Publication{high, low} {
		if !equalMessages(ds[i].Message, want.Message) || engine.Step(ds[i].Priority) != engine.Step(want.Priority) {
			c.Errorf("got %+v, want %+v", ds[i].Message, want.Message)
		}
	}
}

func manyDue(c *T) {
	const n = 3000 / (1 + 9*(slowdown-1)) // 300 under the race detector
	at := time.Now().Add(2 * time.Second)
	for i := range n / 100 {
		pubs := make([]engine.Publication, 100)
		for j := range pubs {
			pubs[j] = msg(fmt.Sprintf("n%d-%d", i, j))
			pubs[j].At = at
		}
		c.publish(pubs...)
	}
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	seen := map[string]bool{}
	for len(seen) < n {
		ds, err := r.Take(c.soon(), 256)
		if err != nil {
			c.Fatalf("take: %v after %d", err, len(seen))
		}
		if early := time.Until(at); early > 0 {
			c.Fatalf("%d messages came %v early", len(ds), early)
		}
		ss := make([]engine.Settlement, len(ds))
		for i, d := range ds {
			if seen[d.ID] {
				c.Errorf("%q came twice", d.ID)
			}
			seen[d.ID] = true
			ss[i] = success(d)
		}
		c.settle(r, ss...)
	}
	if late := time.Since(at); late > 5*time.Second {
		c.Errorf("the last of %d came %v late, want at most 5s", n, late)
	}
}

func farAhead(c *T) {
	for i, ahead := range []time.Duration{time.Minute, time.Hour, 25 * time.Hour, 400 * 24 * time.Hour} {
		p := msg(fmt.Sprint("far", i))
		p.At = time.Now().Add(ahead)
		c.publish(p)
	}
	r := c.receiver()
	c.none(r, c.quiet(), "messages far ahead")
	if q := c.queue("q"); q.Delayed != 4 {
		c.Errorf("got %+v, want 4 delayed", q)
	}
	if !c.engine.Bubble {
		return
	}
	start := time.Now()
	for _, want := range []time.Duration{time.Minute, time.Hour, 25 * time.Hour, 400 * 24 * time.Hour} {
		ds, err := r.Take(c.Context(), 1)
		if err != nil || len(ds) != 1 {
			c.Fatalf("take: %d messages, %v", len(ds), err)
		}
		if got := time.Since(start) + c.quiet(); got != want {
			c.Errorf("%q came after %v, want %v", ds[0].ID, got, want)
		}
		c.settle(r, success(ds[0]))
	}
}

func dueWhileAway(c *T) {
	p := msg("a")
	p.At = time.Now().Add(200 * time.Millisecond)
	c.publish(p)
	c.poll(2*time.Second+slack, "it is ready", func() bool { return c.queue("q").Ready == 1 })
	if d := c.one(c.receiver()); time.Now().Before(p.At) {
		c.Errorf("%q came early", d.ID)
	}
}
