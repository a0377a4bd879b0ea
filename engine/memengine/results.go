package memengine

import (
	"context"
	"fmt"
	"iter"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Put implements engine.Results.
func (e *Engine) Put(ctx context.Context, puts []engine.StatePut) []error {
	errs, ok := e.enter(ctx, len(puts))
	if !ok {
		return errs
	}
	defer e.mu.Unlock()
	for i, p := range puts {
		errs[i] = e.putState(p)
	}
	return errs
}

func (e *Engine) putState(p engine.StatePut) error {
	if err := p.State.Check(); err != nil {
		return err
	}
	if engine.Ready(p.State.Status) {
		return fmt.Errorf("put state %s: final states are settled or finished", p.State.Status)
	}
	t := e.task(p.State.ID)
	if !t.accepts(p.Fence) {
		return engine.ErrSuperseded
	}
	if t.open && p.Fence == t.fence {
		e.put(t, p.State)
	} else {
		e.show(t, p.State)
	}
	e.keep(t, p.State.TTL)
	return nil
}

// accepts reports whether a state may be written under the fence. Those of
// tasks that another engine brokers are not ours; they only must not fall.
func (t *task) accepts(f engine.Fence) bool {
	if t.finished {
		return false
	}
	if t.brought {
		return t.open && f == t.fence
	}
	if f < t.held {
		return false
	}
	t.held = f
	return true
}

// Finish implements engine.Results.
func (e *Engine) Finish(ctx context.Context, puts []engine.StatePut) []error {
	errs, ok := e.enter(ctx, len(puts))
	if !ok {
		return errs
	}
	defer e.mu.Unlock()
	for i, p := range puts {
		errs[i] = e.finishState(p)
	}
	return errs
}

func (e *Engine) finishState(p engine.StatePut) error {
	if err := p.State.Check(); err != nil {
		return err
	}
	if !engine.Ready(p.State.Status) {
		return fmt.Errorf("finish with state %s: it is not final", p.State.Status)
	}
	t := e.task(p.State.ID)
	if t.finished || p.Fence != 0 && !t.accepts(p.Fence) {
		return engine.ErrSuperseded
	}
	if t.brought {
		e.finish(t, p.State)
		return nil
	}
	// The stream has a fence of its own, and its writer ends it.
	t.finished = true
	e.show(t, p.State)
	e.keep(t, p.State.TTL)
	return nil
}

// Get implements engine.Results.
func (e *Engine) Get(ctx context.Context, ids []string) ([]engine.State, error) {
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	states := make([]engine.State, len(ids))
	for i, id := range ids {
		states[i], _ = e.state(id)
	}
	return states, nil
}

// state returns what is known of a task and the number of its latest change.
func (e *Engine) state(id string) (engine.State, uint64) {
	t := e.tasks[id]
	switch {
	case t == nil:
		return engine.State{ID: id, Status: engine.Pending}, 0
	case t.state.Status == "":
		return engine.State{ID: id, Status: engine.Pending}, t.version
	}
	return t.state, t.version
}

// Watch implements engine.Results.
func (e *Engine) Watch(ctx context.Context, id string) iter.Seq2[engine.State, error] {
	return func(yield func(engine.State, error) bool) {
		for first, seen := true, uint64(0); ; first = false {
			if err := e.begin(ctx); err != nil {
				yield(engine.State{}, err)
				return
			}
			s, version := e.state(id)
			w := e.join(id)
			e.mu.Unlock()
			if first || version > seen {
				seen = version
				if !yield(s, nil) || engine.Ready(s.Status) {
					e.leave(id, w)
					return
				}
			}
			if err := e.wait(ctx, id, w); err != nil {
				yield(engine.State{}, err)
				return
			}
		}
	}
}

// Forget implements engine.Results.
func (e *Engine) Forget(ctx context.Context, ids []string) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	for _, id := range ids {
		if t := e.tasks[id]; t != nil {
			e.clear(t)
			if len(t.msgs) == 0 {
				e.keep(t, 1) // as long as its publications are remembered
			}
		}
	}
	return nil
}
