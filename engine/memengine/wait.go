package memengine

import (
	"context"

	"github.com/rhubarb-go/rhubarb/engine"
)

// waiter is what the readers of one id wait for.
type waiter struct {
	changed chan struct{} // closed at the next change
	readers int
}

// wake tells the readers of an id that something changed.
func (e *Engine) wake(id string) {
	if w := e.waiters[id]; w != nil {
		close(w.changed)
		delete(e.waiters, id)
	}
}

// join returns what tells of the next change of an id. Pass it to wait, after
// unlocking the engine.
func (e *Engine) join(id string) *waiter {
	w := e.waiters[id]
	if w == nil {
		w = &waiter{changed: make(chan struct{})}
		e.waiters[id] = w
	}
	w.readers++
	return w
}

// wait returns nil after a change.
func (e *Engine) wait(ctx context.Context, id string, w *waiter) error {
	var err error
	select {
	case <-w.changed:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-e.done:
		err = engine.ErrClosed
	}
	e.leave(id, w)
	return err
}

// leave forgets a wait that was not needed.
func (e *Engine) leave(id string, w *waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.readers--; w.readers == 0 && e.waiters[id] == w {
		delete(e.waiters, id)
	}
}
