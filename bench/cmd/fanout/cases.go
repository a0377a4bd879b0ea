package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// benchCase is what is measured.
type benchCase struct {
	name   string
	conns  int
	groups int // the clients are spread over them

	// One of the two. The first is how many messages are under way at once.
	outstanding int
	perSecond   int
}

var cases = []benchCase{
	{name: "idle, 8,000 connections", conns: 8000, groups: 1},
	{name: "1 to 1,000, one message at a time", conns: 1000, groups: 1, outstanding: 1},
	{name: "1 to 1,000, 16 outstanding", conns: 1000, groups: 1, outstanding: 16},
	{name: "1 to 1,000, 50 per second", conns: 1000, groups: 1, perSecond: 50},
	{name: "1 to 5,000, one message at a time", conns: 5000, groups: 1, outstanding: 1},
	{name: "1 to 5,000, 16 outstanding", conns: 5000, groups: 1, outstanding: 16},
	{name: "1 to 5,000, 10 per second", conns: 5000, groups: 1, perSecond: 10},
	{name: "1,000 groups of 5, 16 outstanding", conns: 5000, groups: 1000, outstanding: 16},
}

// run measures one case on one side.
func (bc benchCase) run(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	p, err := begin(ctx, s, o.profiles)
	if err != nil {
		return nil, err
	}
	defer p.end()
	n, groups := max(int(float64(bc.conns)*o.scale), bc.groups, 1), bc.groups
	if o.scale < 1 {
		groups = min(groups, n)
	}
	if err := p.collect(); err != nil {
		return nil, err
	}
	before, err := measure.RSS(p.pid)
	if err != nil {
		return nil, err
	}
	began, err := measure.CPU(p.pid)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	c, err := gather(ctx, p, n, func(i int) string { return groupName(i % groups) })
	if err != nil {
		return nil, err
	}
	defer c.leave()
	took := time.Since(start)
	if c.want = n / groups; n%groups != 0 {
		return nil, fmt.Errorf("%d clients cannot be spread evenly over %d groups", n, groups)
	}
	f := &flow{crowd: c, served: p, groups: groups, limit: o.limit}
	if err := f.warm(); err != nil {
		return nil, err
	}
	if bc.outstanding == 0 && bc.perSecond == 0 {
		return idle(p, n, before, began, took)
	}
	return f.measure(bc, o.window)
}

func groupName(i int) string { return "g" + strconv.Itoa(i) }

// idle measures what connections cost that do nothing. They have all had a
// message.
func idle(p *served, n int, before int64, began, took time.Duration) ([]measure.Sample, error) {
	used, err := measure.CPU(p.pid)
	if err != nil {
		return nil, err
	}
	if err := p.collect(); err != nil {
		return nil, err
	}
	after, err := measure.RSS(p.pid)
	if err != nil {
		return nil, err
	}
	return []measure.Sample{
		measure.Less("memory of a connection, resident", "KB", float64(after-before)/float64(n)/1000),
		measure.More("handshakes", "1/s", float64(n)/took.Seconds()),
		measure.Less("CPU of a handshake, server", "µs", float64((used-began).Microseconds())/float64(n)),
	}, nil
}

// flow publishes, and knows what is under way.
type flow struct {
	*crowd
	*served
	groups int
	next   int // number
	limit  time.Duration
}

func (f *flow) send() error {
	f.next++
	return f.publish(groupName(f.next%f.groups), f.next)
}

var errLost = errors.New("a message was lost")

// warm waits until every client hears what is published: some libraries
// register a client after they have answered it.
func (f *flow) warm() error {
	for range 50 {
		f.since = time.Now()
		f.got, f.complete = map[int]int{}, nil
		for range f.groups {
			if err := f.send(); err != nil {
				return err
			}
		}
		for deadline := time.Now().Add(2 * time.Second); len(f.complete) < f.groups && time.Now().Before(deadline); {
			if err := f.poll(100 * time.Millisecond); err != nil {
				return err
			}
		}
		if len(f.complete) == f.groups {
			return nil
		}
	}
	return fmt.Errorf("%w: the crowd never heard one together", errLost)
}

// measure publishes for a while, and waits for the last to arrive.
func (f *flow) measure(bc benchCase, window time.Duration) ([]measure.Sample, error) {
	f.got, f.complete, f.count, f.latency = map[int]int{}, nil, 0, histogram{}
	began, err := measure.CPU(f.pid)
	if err != nil {
		return nil, err
	}
	f.since = time.Now()
	start := f.since
	if err := f.publishFor(bc, window); err != nil {
		return nil, err
	}
	took := time.Since(start)
	used, err := measure.CPU(f.pid)
	if err != nil {
		return nil, err
	}
	samples := []measure.Sample{
		measure.Less("latency, p50", "ms", f.latency.at(50)),
		measure.Less("latency, p99", "ms", f.latency.at(99)),
		measure.Less("CPU of a delivery, server", "µs", float64((used-began).Nanoseconds())/1000/float64(f.count)),
	}
	if bc.perSecond == 0 {
		samples = append([]measure.Sample{measure.More("deliveries", "1/s", float64(f.count)/took.Seconds())}, samples...)
	}
	return samples, nil
}

func (f *flow) publishFor(bc benchCase, window time.Duration) error {
	start, sent, done := time.Now(), 0, 0
	for last := start; ; {
		elapsed := time.Since(start)
		due := done + bc.outstanding
		if bc.perSecond > 0 {
			due = 1 + int(elapsed.Seconds()*float64(bc.perSecond))
		}
		for ; sent < due && elapsed < window; sent++ {
			if err := f.send(); err != nil {
				return err
			}
		}
		if elapsed >= window && done == sent {
			return nil
		}
		wait := 100 * time.Millisecond
		if bc.perSecond > 0 {
			wait = min(wait, time.Duration(sent)*time.Second/time.Duration(bc.perSecond)-elapsed)
		}
		if err := f.poll(max(wait, 0)); err != nil {
			return err
		}
		for _, number := range f.complete {
			delete(f.got, number)
			done++
			last = time.Now()
		}
		f.complete = f.complete[:0]
		if time.Since(last) > f.limit && sent > done {
			return fmt.Errorf("%w: %d of %d messages have not reached all %d clients after %v", errLost, sent-done, sent, f.want, f.limit)
		}
	}
}
