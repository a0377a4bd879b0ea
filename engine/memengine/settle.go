package memengine

import (
	"context"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Settle implements engine.Receiver.
func (r *receiver) Settle(ctx context.Context, ss []engine.Settlement) []error {
	errs, ok := r.e.enter(ctx, len(ss))
	if !ok {
		return errs
	}
	defer r.e.mu.Unlock()
	if r.closed {
		return repeat(engine.ErrClosed, len(ss))
	}
	for i, s := range ss {
		errs[i] = r.e.settle(s)
	}
	return errs
}

func (e *Engine) settle(s engine.Settlement) error {
	if err := s.Check(); err != nil {
		return err
	}
	m, ok := valid(s.Delivery)
	if !ok {
		return engine.ErrSuperseded
	}
	e.clock.cancel(&m.due)
	m.unready()
	switch s.Verdict {
	case engine.Return:
		e.giveBack(m)
	case engine.Park:
		e.park(m, s.Reason)
	case engine.Bury:
		e.shelve(m, engine.Dead, s.Reason)
		e.finish(m.task, final(s.State, engine.Failure))
		e.follow(s.Follow)
	default:
		e.complete(m, s)
	}
	return nil
}

// complete removes the message of a run that is over.
func (e *Engine) complete(m *msg, s engine.Settlement) {
	t := m.task
	e.remove(m)
	m.fence = 0
	if s.State == nil || engine.Ready(s.State.Status) {
		e.finish(t, final(s.State, engine.Ignored))
		e.follow(s.Follow)
		return
	}
	e.put(t, *s.State)
	t.open = false
	if t.wish != nil { // a retry of its own is not sent: the task is finished
		e.finish(t, *t.wish)
	}
	e.keep(t, s.State.TTL)
	e.follow(s.Follow)
}

// final returns the state a task ends with. With none given its record is
// empty.
func final(s *engine.State, status string) engine.State {
	if s == nil {
		return engine.State{Status: status}
	}
	return *s
}

// follow sends what a settlement gave rise to.
func (e *Engine) follow(pubs []engine.Publication) {
	for _, p := range pubs {
		e.publish(p)
	}
}

// unclaim takes back what a claim changed.
func (e *Engine) unclaim(m *msg) {
	t := m.task
	t.open = false
	m.fence = 0
	t.state, t.version = m.before, e.number()
	e.wake(t.id)
}

// giveBack makes a held message ready as if it had not been taken.
func (e *Engine) giveBack(m *msg) {
	e.unclaim(m)
	m.deliveries--
	m.task.attempt--
	e.release(m)
}

// park moves a held message to the shelf of unknown tasks.
func (e *Engine) park(m *msg, reason string) {
	e.unclaim(m)
	m.holder = nil
	if m.task.wish != nil {
		e.finish(m.task, *m.task.wish)
		return
	}
	e.shelve(m, engine.Parked, reason)
}
