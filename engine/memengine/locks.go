package memengine

import (
	"context"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// term is a lock that is held.
type term struct {
	owner string
	fence engine.Fence
	over  alarm
}

// Acquire implements engine.Locks.
func (e *Engine) Acquire(ctx context.Context, name, owner string, ttl time.Duration) (engine.Fence, error) {
	if err := engine.CheckName("lock name", name, engine.MaxID); err != nil {
		return 0, err
	}
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.mu.Unlock()
	if e.locks[name] != nil {
		return 0, engine.ErrHeld
	}
	t := &term{owner: owner, fence: engine.Fence(e.number())}
	t.over.do = func() { delete(e.locks, name) }
	e.locks[name] = t
	e.clock.set(&t.over, time.Now().Add(whole(ttl)))
	return t.fence, nil
}

// Renew implements engine.Locks.
func (e *Engine) Renew(ctx context.Context, name string, fence engine.Fence, ttl time.Duration) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	t := e.locks[name]
	if t == nil || t.fence != fence {
		return engine.ErrSuperseded
	}
	e.clock.set(&t.over, time.Now().Add(whole(ttl)))
	return nil
}

// Release implements engine.Locks.
func (e *Engine) Release(ctx context.Context, name string, fence engine.Fence) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	t := e.locks[name]
	if t == nil || t.fence != fence {
		return engine.ErrSuperseded
	}
	e.clock.cancel(&t.over)
	delete(e.locks, name)
	return nil
}

// whole rounds a term up to whole seconds, one at least.
func whole(ttl time.Duration) time.Duration {
	return max((ttl + time.Second - 1).Truncate(time.Second), time.Second)
}
