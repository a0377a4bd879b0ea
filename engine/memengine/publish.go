package memengine

import (
	"context"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Publish implements engine.Broker.
func (e *Engine) Publish(ctx context.Context, pubs []engine.Publication) []engine.Receipt {
	receipts := make([]engine.Receipt, len(pubs))
	errs, ok := e.enter(ctx, len(pubs))
	if !ok {
		for i, err := range errs {
			receipts[i] = engine.Receipt{ID: pubs[i].ID, Err: err}
		}
		return receipts
	}
	defer e.mu.Unlock()
	for i, p := range pubs {
		receipts[i] = e.publish(p)
	}
	return receipts
}

func (e *Engine) publish(p engine.Publication) engine.Receipt {
	if err := p.Check(); err != nil {
		return engine.Receipt{ID: p.ID, Err: err}
	}
	if p.Key != "" {
		if id, taken := e.keys[p.Key]; taken && id != p.ID {
			return engine.Receipt{ID: id, Duplicate: true}
		}
		e.holdKey(p)
	}
	t := e.task(p.ID)
	if t.finished || t.knows(p.Round) {
		return engine.Receipt{ID: p.ID}
	}
	t.brought = true
	t.remember(p.Round)
	e.keep(t, engine.DefaultTTL)
	m := &msg{Publication: p, task: t}
	t.msgs = append(t.msgs, m)
	e.enqueue(m)
	return engine.Receipt{ID: p.ID}
}

// holdKey lets a publication be the one with its key.
func (e *Engine) holdKey(p engine.Publication) {
	if _, taken := e.keys[p.Key]; taken {
		return
	}
	ttl := p.KeyTTL
	if ttl <= 0 {
		ttl = engine.DefaultTTL
	}
	e.keys[p.Key] = p.ID
	e.clock.set(&alarm{do: func() { delete(e.keys, p.Key) }}, time.Now().Add(ttl))
}

// knows reports whether the round was published already.
func (t *task) knows(n int) bool {
	if slices.ContainsFunc(t.msgs, func(m *msg) bool { return m.Round == n }) {
		return true
	}
	now := time.Now()
	return slices.ContainsFunc(t.rounds, func(r round) bool { return r.n == n && now.Before(r.until) })
}

// remember notes a round, and forgets old ones.
func (t *task) remember(n int) {
	now := time.Now()
	t.rounds = slices.DeleteFunc(t.rounds, func(r round) bool { return !now.Before(r.until) })
	t.rounds = append(t.rounds, round{n, now.Add(dedupeFor)})
}
