package channels

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// shareFor is how long those who come to read a group's history wait for each
// other, if it was read just before. So a storm of reconnections costs the
// engine ten reads a second for each group, however many come.
const shareFor = 100 * time.Millisecond

// reads are the reads of histories by those who resume. One that is under way
// lacks what was live just before somebody came, so they share the next one.
type reads struct {
	work sync.WaitGroup

	mu     sync.Mutex
	groups map[string]*queue // that are read, or were just now
}

// queue is who waits for the history of one group.
type queue struct {
	waiting []*reading
	hurry   chan struct{} // has room for one word that nobody is to be waited for
}

// reading is one who waits.
type reading struct {
	after  uint64
	answer chan answer // has room for it
}

type answer struct {
	events []*heard
	gone   bool // what comes after the offset may not be all there
	full   bool // there may be more
	err    error
}

// read returns what comes after an offset, by a read that begins from now on.
// Who goes on reading waits for nobody.
func (h *Hub) read(ctx context.Context, group string, after uint64, goesOn bool) (answer, error) {
	r := &reading{after: after, answer: make(chan answer, 1)}
	h.reads.mu.Lock()
	if h.life.Err() != nil { // Close may be waiting
		h.reads.mu.Unlock()
		return answer{}, engine.ErrClosed
	}
	if h.reads.groups == nil {
		h.reads.groups = map[string]*queue{}
	}
	q := h.reads.groups[group]
	if q == nil {
		q = &queue{hurry: make(chan struct{}, 1)}
		h.reads.groups[group] = q
		h.reads.work.Go(func() { h.readFor(q, group) })
	}
	q.waiting = append(q.waiting, r)
	h.reads.mu.Unlock()
	if goesOn {
		select {
		case q.hurry <- struct{}{}:
		default:
		}
	}
	select {
	case a := <-r.answer:
		return a, a.err
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// readFor reads for all who wait, and ends when nobody has come for a while.
func (h *Hub) readFor(q *queue, group string) {
	pause := time.NewTimer(shareFor)
	defer pause.Stop()
	for {
		h.reads.mu.Lock()
		some := q.waiting
		q.waiting = nil
		if len(some) == 0 {
			delete(h.reads.groups, group)
			h.reads.mu.Unlock()
			return
		}
		h.reads.mu.Unlock()
		pause.Reset(shareFor)
		for len(some) > 0 {
			some = h.readOnce(some, group)
		}
		select {
		case <-pause.C:
		case <-q.hurry:
		case <-h.life.Done():
		}
	}
}

// readOnce reads from the lowest offset on, and answers all whose offset is
// among what it finds: for them it is as if they had asked for themselves. It
// returns the others.
func (h *Hub) readOnce(some []*reading, group string) (others []*reading) {
	low := slices.MinFunc(some, func(a, b *reading) int { return cmp.Compare(a.after, b.after) }).after
	ctx, cancel := context.WithTimeout(h.life, historyWait)
	defer cancel()
	var all answer
	var kept []engine.Kept
	kept, all.gone, all.err = h.kept(ctx, group, low)
	all.full = len(kept) == historyPage
	for _, k := range kept {
		if e, ok := h.event(group, k.Body, k.Offset); ok {
			all.events = append(all.events, &heard{Event: e})
			continue
		}
		all.events = append(all.events, &heard{Event: Event{offset: k.Offset}, bad: true})
	}
	for _, r := range some {
		i, there := slices.BinarySearchFunc(all.events, r.after, func(e *heard, offset uint64) int { return cmp.Compare(e.offset, offset) })
		switch {
		case all.err != nil || r.after == low:
			r.answer <- all
		case there:
			r.answer <- answer{events: all.events[i+1:], full: all.full}
		default:
			others = append(others, r)
		}
	}
	return others
}

// kept reads a page of a group's history.
func (h *Hub) kept(ctx context.Context, group string, after uint64) ([]engine.Kept, bool, error) {
	h.stats.Reads.Add(1)
	return h.layer.History(ctx, group, after, historyPage)
}

// heard is an event, and what relays made of it.
type heard struct {
	Event
	bad bool // it cannot be read

	mu       sync.Mutex
	rendered []rendered
}

type rendered struct {
	by *Relay
	m  *Shared // nil if there is nothing to send
}

// shared renders the event once for each relay.
func (e *heard) shared(h *Hub, by *Relay) *Shared {
	if e.bad {
		return nil
	}
	if m, done := e.madeBy(by); done {
		return m
	}
	m, ok := h.render(by, e.Event)
	if !ok {
		m = nil
	}
	return e.made(by, m)
}

func (e *heard) madeBy(by *Relay) (m *Shared, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.rendered {
		if r.by == by {
			return r.m, true
		}
	}
	return nil, false
}

// made keeps what a relay made of it, unless somebody else was first.
func (e *heard) made(by *Relay, m *Shared) *Shared {
	if first, done := e.madeBy(by); done {
		return first
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rendered = append(e.rendered, rendered{by, m})
	return m
}
