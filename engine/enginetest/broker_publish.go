package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func republished(c *T) {
	c.publish(msg("a"), msg("a"))
	c.publish(msg("a"))
	r := c.receiver()
	later := msg("b")
	later.At = time.Now().Add(time.Hour)
	c.publish(later, later)
	if q := c.queue("q"); q.Ready != 1 || q.Delayed != 1 {
		c.Errorf("after every message was published again: %+v, want 1 ready, 1 delayed", q)
	}
	d := c.one(r)
	c.publish(msg("a"))
	c.none(r, c.quiet(), "a message republished while it runs")
	c.settle(r, success(d))
	c.publish(msg("a"))
	c.none(r, c.quiet(), "a message republished after it was settled")
}

func keyed(c *T) {
	first, second := msg("first"), msg("second")
	first.Key, first.KeyTTL = "order 7 / ü*>.", time.Hour
	second.Key, second.KeyTTL = first.Key, time.Hour
	other := msg("other")
	other.Key, other.KeyTTL = "order 8", time.Hour
	want := []engine.Receipt{{ID: "first"}, {ID: "first", Duplicate: true}, {ID: "other"}}
	check := func(got []engine.Receipt) {
		c.Helper()
		if !slices.Equal(got, want) {
			c.Errorf("receipts:\ngot  %+v\nwant %+v", got, want)
		}
	}
	check(c.Broker.Publish(c.soon(), []engine.Publication{first, second, other}))
	check(c.Broker.Publish(c.soon(), []engine.Publication{first, second, other})) // the first one holds its own key
	r := c.receiver()
	ds := c.take(r, 2)
	c.none(r, c.quiet(), "a publication with a taken key")
	c.settle(r, success(ds[0]), success(ds[1]))
	check(c.Broker.Publish(c.soon(), []engine.Publication{first, second, other}))
	c.none(r, c.quiet(), "a key of a finished task")
}

func keyRace(c *T) {
	receipts := make([]engine.Receipt, 20)
	var wg sync.WaitGroup
	for i := range receipts {
		wg.Go(func() {
			p := msg(fmt.Sprint("racer", i))
			p.Key, p.KeyTTL = "k", time.Hour
			receipts[i] = c.Broker.Publish(c.soon(), []engine.Publication{p})[0]
		})
	}
	wg.Wait()
	winner := c.one(c.receiver()).ID
	for i, r := range receipts {
		want := engine.Receipt{ID: winner, Duplicate: fmt.Sprint("racer", i) != winner}
		if r != want {
			c.Errorf("racer %d: got %+v, want %+v", i, r, want)
		}
	}
	if q := c.queue("q"); q.Ready != 0 || q.Held != 1 {
		c.Errorf("after the race: %+v, want 1 held", q)
	}
}

func keyExpires(c *T) {
	first, second := msg("first"), msg("second")
	first.Key, first.KeyTTL = "k", time.Second
	second.Key, second.KeyTTL = "k", time.Hour
	c.publish(first)
	c.poll(time.Second+2*slack, "the key is free again", func() bool {
		r := c.Broker.Publish(c.soon(), []engine.Publication{second})[0]
		if r.Err != nil {
			c.Fatal(r.Err)
		}
		return !r.Duplicate && r.ID == "second"
	})
	c.take(c.receiver(), 2)
}

func partialBatch(c *T) {
	pubs := msgs(6)
	pubs[1].Queue = ""
	pubs[3].Body = make([]byte, engine.MaxMessage+1)
	pubs[4].ID = ""
	got := c.Broker.Publish(c.soon(), pubs)
	if len(got) != len(pubs) {
		c.Fatalf("got %d receipts for %d messages", len(got), len(pubs))
	}
	for i, r := range got {
		if bad := i == 1 || i == 3 || i == 4; bad {
			c.want(fmt.Sprintf("publication %d", i), r.Err, engine.ErrLimit)
		} else if r.Err != nil || r.ID != pubs[i].ID {
			c.Errorf("publication %d: got %+v, want it accepted", i, r)
		}
	}
	r := c.receiver()
	c.take(r, 3)
	c.none(r, c.quiet(), "a refused publication")
}

func emptyBatches(c *T) {
	r := c.receiver()
	b := c.Broker
	if n := len(b.Publish(c.soon(), nil)) + len(b.Revoke(c.soon(), nil)) + len(b.Restore(c.soon(), engine.Dead, nil)) +
		len(b.Drop(c.soon(), engine.Dead, nil)) + len(r.Extend(c.soon(), nil)) + len(r.Settle(c.soon(), nil)); n != 0 {
		c.Errorf("empty batches gave %d answers", n)
	}
}

func limits(c *T) {
	full := msg(strings.Repeat("i", engine.MaxID))
	full.Queue = strings.Repeat("q", engine.MaxQueue)
	full.Body = bytes.Repeat([]byte{0xff, 0}, (engine.MaxMessage-len(full.Headers)-len(full.Properties))/2)
	c.publish(full)
	r := c.receiver(full.Queue)
	if d := c.one(r); !equalMessages(d.Message, full.Message) {
		c.Errorf("the largest message changed on its way: %d bytes of body, want %d", len(d.Body), len(full.Body))
	}
	for _, tt := range []struct {
		what string
		edit func(*engine.Publication)
	}{
		{"id", func(p *engine.Publication) { p.ID = strings.Repeat("i", engine.MaxID+1) }},
		{"queue", func(p *engine.Publication) { p.Queue = strings.Repeat("q", engine.MaxQueue+1) }},
		{"message", func(p *engine.Publication) { p.Headers = make([]byte, engine.MaxMessage) }},
	} {
		p := msg("x")
		tt.edit(&p)
		err := c.Broker.Publish(c.soon(), []engine.Publication{p})[0].Err
		c.want("too large: "+tt.what, err, engine.ErrLimit)
		if err != nil && !strings.Contains(err.Error(), tt.what) {
			c.Errorf("too large: the error does not say that it is the %s: %v", tt.what, err)
		}
	}
	c.want("revoke without an id", c.Broker.Revoke(c.soon(), []engine.State{{Status: engine.Revoked}})[0], engine.ErrLimit)
	c.publish(msg("y"))
	ours := c.receiver()
	d := c.one(ours)
	s := success(d)
	s.State.Record = make([]byte, engine.MaxRecord+1)
	c.want("settle with too large a record", ours.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrLimit)
	c.want("extend after that", ours.Extend(c.soon(), []*engine.Delivery{d})[0], nil)
	c.settle(ours, success(d))
}

// oddities are names that some technology has a meaning for.
var oddities = []string{
	"plain", "a.b.c", ".", "..", "a b", " ", "*", ">", "a.*.>", "rb.>", "$KV.X", "_INBOX.a", "a/b\\c", "ünïcödé 🌱", "日本",
	"\x06\x16", "\x00", "\r\n", "%2E%", "a=b", "A", "a", "'\"`", "{hash}", "-", "_", "=", "~",
	"celery@host.\x06\x163", strings.Repeat("é", engine.MaxQueue/2),
}

func hex(s string) string { return fmt.Sprintf("%x", s[:min(len(s), engine.MaxID/2)]) }

func oddNames(c *T) {
	r := c.receiver(oddities...)
	for _, q := range oddities {
		for i, id := range []string{q + " at " + q[:min(len(q), 40)], hex(q)} {
			p := msg(id)
			p.Queue, p.Priority = q, 3*i
			c.publish(p)
		}
	}
	got := map[string]int{}
	for _, d := range c.take(r, 2*len(oddities)) {
		got[d.Queue]++
		if id := hex(d.Queue); engine.Step(d.Priority) == 1 && d.ID != id {
			c.Errorf("queue %q: got id %q, want %q", d.Queue, d.ID, id)
		}
		c.settle(r, success(d))
	}
	infos, err := c.Broker.Queues(c.soon())
	if err != nil {
		c.Fatal(err)
	}
	var names []string
	for _, q := range infos {
		names = append(names, q.Name)
	}
	want := slices.Sorted(slices.Values(oddities))
	if !slices.Equal(names, want) {
		c.Errorf("queues:\ngot  %q\nwant %q", names, want)
	}
	for _, q := range oddities {
		if got[q] != 2 {
			c.Errorf("queue %q gave %d messages, want 2", q, got[q])
		}
	}
}
