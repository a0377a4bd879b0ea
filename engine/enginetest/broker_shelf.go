package enginetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var shelfTests = []test{
	{"a message that kills its workers is shelved", "or it would kill them for ever", "", poison},
	{"without a limit it comes for ever", "a caller may know better", "fake", noLimit},
	{"a buried message lies on the shelf", "people look at it and decide", "", buried},
	{"a parked message waits for its worker", "an unknown task is never thrown away", "", parked},
	{"a shelf is listed in pages", "there may be many", "", shelfPages},
	{"what is not on the shelf is not found", "two people may press the same button", "", notOnShelf},
}

func poison(c *T) {
	rounds := 1 // each costs a lease
	if c.engine.Bubble {
		rounds = 4
	}
	p := msg("poison")
	p.Priority = 6
	c.publish(p)
	type shelving struct {
		m      engine.Message
		reason string
	}
	var told []shelving
	r := c.receive(engine.ReceiveOptions{MaxDeliveries: rounds, Shelve: func(m engine.Message, reason string) engine.State {
		told = append(told, shelving{m, reason})
		return engine.State{ID: m.ID, Status: engine.Failure, Record: []byte(`{"status":"FAILURE"}`)}
	}})
	for i := range rounds {
		if d := c.one(r); d.Deliveries != i+1 {
			c.Errorf("got delivery %d, want %d", d.Deliveries, i+1)
		}
	}
	c.none(r, maxLease+2*slack, fmt.Sprintf("a message that was handed out %d times", rounds))
	if len(told) != 1 || !equalMessages(told[0].m, p.Message) || told[0].reason == "" {
		c.Errorf("Shelve was asked with %+v, want once with the message and a reason", told)
	}
	list := c.shelved(engine.Dead)
	if len(list) != 1 || !equalMessages(list[0].Message, p.Message) || list[0].Queue != "q" || engine.Step(list[0].Priority) != 2 ||
		list[0].Reason == "" || list[0].Deliveries != rounds || time.Since(list[0].Since) > patience {
		c.Fatalf("the shelf holds %+v, want the message with %d deliveries and a reason", list, rounds)
	}
	if q := c.queue("q"); q.Ready+q.Held+q.Delayed != 0 {
		c.Errorf("the queue still has %+v", q)
	}
	c.publish(p)
	c.none(r, c.quiet(), "a dead message that is published again")
	c.want("restore", c.Broker.Restore(c.soon(), engine.Dead, []string{"poison"})[0], nil)
	d := c.one(r)
	if d.Deliveries != 1 || d.Attempt <= rounds {
		c.Errorf("restored: got delivery %d, attempt %d, want 1, more than %d", d.Deliveries, d.Attempt, rounds)
	}
	c.settle(r, success(d))
	if n := len(c.shelved(engine.Dead)); n != 0 {
		c.Errorf("%d messages are still on the shelf", n)
	}
}

func noLimit(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{MaxDeliveries: -1})
	for i := range 50 {
		if d := c.one(r); d.Deliveries != i+1 || d.Attempt != i+1 {
			c.Fatalf("got delivery %d, attempt %d, want %d", d.Deliveries, d.Attempt, i+1)
		}
	}
}

func buried(c *T) {
	c.publish(msgs(3)...)
	r := c.receiver()
	ds := c.take(r, 3)
	s := bury(ds[1], "cannot be read: \x00 ü")
	s.Follow = []engine.Publication{msg("errback")}
	c.settle(r, success(ds[0]), s, success(ds[2]))
	if d := c.one(r); d.ID != "errback" {
		c.Errorf("got %q, want the follow-up of the burial", d.ID)
	} else {
		c.settle(r, success(d))
	}
	list := c.shelved(engine.Dead)
	if len(list) != 1 || list[0].ID != ds[1].ID || list[0].Reason != s.Reason || list[0].Deliveries != 1 {
		c.Fatalf("the shelf holds %+v, want %q", list, ds[1].ID)
	}
	if n := len(c.shelved(engine.Parked)); n != 0 {
		c.Errorf("%d messages are on the other shelf", n)
	}
	c.none(r, c.quiet(), "a buried message")
	c.want("drop", c.Broker.Drop(c.soon(), engine.Dead, []string{ds[1].ID})[0], nil)
	c.want("restore what was dropped", c.Broker.Restore(c.soon(), engine.Dead, []string{ds[1].ID})[0], engine.ErrNotFound)
	if n := len(c.shelved(engine.Dead)); n != 0 {
		c.Errorf("%d messages are on the shelf after the drop", n)
	}
}

func parked(c *T) {
	p := msg("a")
	p.Priority = 9
	c.publish(p)
	r := c.receiver()
	c.settle(r, verdict(c.one(r), engine.Park, "no worker knows it"))
	c.none(r, c.quiet(), "a parked message")
	list := c.shelved(engine.Parked)
	if len(list) != 1 || !equalMessages(list[0].Message, p.Message) || list[0].Reason != "no worker knows it" || list[0].Queue != "q" {
		c.Fatalf("the shelf holds %+v, want the message", list)
	}
	c.publish(p)
	c.none(r, c.quiet(), "a parked message that is published again")
	c.want("restore", c.Broker.Restore(c.soon(), engine.Parked, []string{"a"})[0], nil)
	c.want("restore again", c.Broker.Restore(c.soon(), engine.Parked, []string{"a"})[0], engine.ErrNotFound)
	d := c.one(r)
	if d.Deliveries != 1 || !equalMessages(d.Message, p.Message) || engine.Step(d.Priority) != 3 {
		c.Errorf("restored: got %+v", d)
	}
	c.settle(r, success(d))
}

func shelfPages(c *T) {
	const n = 23
	c.publish(msgs(n)...)
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	var want []string
	for range n {
		d := c.one(r)
		want = append(want, d.ID)
		c.settle(r, verdict(d, engine.Park, "unknown"))
	}
	var got []string
	after := ""
	for {
		page, err := c.Broker.Shelved(c.soon(), engine.Parked, after, 10)
		if err != nil {
			c.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if len(page) > 10 {
			c.Fatalf("a page of at most 10 has %d", len(page))
		}
		for _, m := range page {
			got = append(got, m.ID)
		}
		after = page[len(page)-1].ID
	}
	if !slices.Equal(got, want) {
		c.Errorf("shelf:\ngot  %q\nwant %q", got, want)
	}
	for _, err := range c.Broker.Restore(c.soon(), engine.Parked, want) {
		c.want("restore", err, nil)
	}
	c.take(r, n)
}

func notOnShelf(c *T) {
	c.publish(msg("a"))
	odd := strings.Repeat("x", engine.MaxID)
	errs := c.errors(c.Broker.Restore(c.soon(), engine.Dead, []string{"a", "nothing", odd}), 3)
	for i, err := range errs {
		c.want(fmt.Sprint("restore ", i), err, engine.ErrNotFound)
	}
	if list, err := c.Broker.Shelved(c.soon(), engine.Dead, "", 10); err != nil || len(list) != 0 {
		c.Errorf("an empty shelf: got %v, %v", list, err)
	}
	r := c.receiver()
	if d := c.one(r); d.ID != "a" {
		c.Errorf("got %q, want a", d.ID)
	}
}
