package memengine

import (
	"context"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// shelf lists messages that nobody may take, the oldest first.
type shelf struct{ entries []entry }

type entry struct {
	m      *msg
	reason string
	since  time.Time
}

func (s *shelf) find(id string) int {
	return slices.IndexFunc(s.entries, func(en entry) bool { return en.m.ID == id })
}

// take removes an entry; with a message given only that one.
func (s *shelf) take(id string, m *msg) (*msg, bool) {
	i := s.find(id)
	if i < 0 || m != nil && s.entries[i].m != m {
		return nil, false
	}
	m = s.entries[i].m
	s.entries = slices.Delete(s.entries, i, i+1)
	return m, true
}

// shelve moves a message from its queue to a shelf. A parked one still belongs
// to its task: it can be revoked.
func (e *Engine) shelve(m *msg, to engine.Shelf, reason string) {
	e.remove(m)
	m.fence = 0
	if to == engine.Parked {
		m.parked = true
		m.task.msgs = append(m.task.msgs, m)
	}
	s := e.shelves[to]
	s.take(m.ID, nil)
	s.entries = append(s.entries, entry{m, reason, time.Now()})
}

// Shelved implements engine.Broker.
func (e *Engine) Shelved(ctx context.Context, name engine.Shelf, after string, most int) ([]engine.Shelved, error) {
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	s := e.shelves[name]
	if s == nil {
		return nil, nil
	}
	entries := s.entries[s.find(after)+1:] // all of them if it is not there any more
	entries = entries[:min(max(most, 0), len(entries))]
	list := make([]engine.Shelved, len(entries))
	for i, en := range entries {
		list[i] = engine.Shelved{
			Message:    en.m.Message,
			Queue:      en.m.Queue,
			Priority:   en.m.Priority,
			Reason:     en.reason,
			Deliveries: en.m.deliveries,
			Since:      en.since,
		}
	}
	return list, nil
}

// Restore implements engine.Broker.
func (e *Engine) Restore(ctx context.Context, name engine.Shelf, ids []string) []error {
	return e.unshelve(ctx, name, ids, func(m *msg) {
		t := e.task(m.ID) // its state may have expired meanwhile
		if t.finished {
			t.finished, t.ended = false, false
			t.control = slices.DeleteFunc(t.control, func(r record) bool { return r.kind == engine.KindEnd })
			t.state, t.version = engine.State{}, e.number()
			e.wake(t.id)
		}
		t.brought = true
		e.keep(t, engine.DefaultTTL)
		m.task, m.parked, m.deliveries, m.seq, m.At = t, false, 0, 0, time.Time{}
		if !slices.Contains(t.msgs, m) {
			t.msgs = append(t.msgs, m)
		}
		e.enqueue(m)
	})
}

// Drop implements engine.Broker.
func (e *Engine) Drop(ctx context.Context, name engine.Shelf, ids []string) []error {
	return e.unshelve(ctx, name, ids, func(m *msg) {
		if slices.Contains(m.task.msgs, m) {
			e.remove(m)
		}
	})
}

// unshelve takes messages off a shelf and does something with each.
func (e *Engine) unshelve(ctx context.Context, name engine.Shelf, ids []string, do func(*msg)) []error {
	errs, ok := e.enter(ctx, len(ids))
	if !ok {
		return errs
	}
	defer e.mu.Unlock()
	s := e.shelves[name]
	for i, id := range ids {
		if s == nil {
			errs[i] = engine.ErrNotFound
			continue
		}
		if m, found := s.take(id, nil); found {
			do(m)
		} else {
			errs[i] = engine.ErrNotFound
		}
	}
	return errs
}
