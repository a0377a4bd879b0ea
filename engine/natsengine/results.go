package natsengine

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Put implements engine.Results.
func (e *Engine) Put(ctx context.Context, puts []engine.StatePut) []error {
	out := make([]error, len(puts))
	if e.closed() {
		return fill(out, engine.ErrClosed)
	}
	for i, p := range puts {
		if out[i] = p.State.Check(); out[i] != nil {
			continue
		}
		w := e.writer(p.State.ID, p.Fence)
		if w == nil || engine.Ready(p.State.Status) {
			out[i] = engine.ErrSuperseded
			continue
		}
		kind := engine.KindState
		if p.State.Status == engine.Progress {
			kind = engine.KindProgress
		}
		out[i] = e.append(ctx, w, []entry{{engine.Entry{Kind: kind, Payload: p.State.Record}, p.State.Status}})
	}
	return out
}

// Finish implements engine.Results.
func (e *Engine) Finish(ctx context.Context, puts []engine.StatePut) []error {
	out := make([]error, len(puts))
	for i := range puts {
		out[i] = e.finishState(ctx, &puts[i])
	}
	return out
}

func (e *Engine) finishState(ctx context.Context, p *engine.StatePut) error {
	if err := p.State.Check(); err != nil {
		return err
	}
	if !engine.Ready(p.State.Status) {
		return fmt.Errorf("state %s is not final", p.State.Status)
	}
	stream, prefix := logOf(p.State.ID)
	for {
		last, err := e.last(ctx, stream, prefix+"c")
		if err != nil {
			return err
		}
		if last.final() || p.Fence != 0 && (last == nil || engine.Fence(last.seq) != p.Fence) {
			return engine.ErrSuperseded
		}
		if last == nil {
			last = &record{}
		}
		if err = e.endTask(ctx, p.State.ID, last, &p.State, nil, nil); !errors.Is(err, engine.ErrSuperseded) {
			return err
		}
	}
}

// Get implements engine.Results.
func (e *Engine) Get(ctx context.Context, ids []string) ([]engine.State, error) {
	out := make([]engine.State, len(ids))
	for i, id := range ids {
		s, err := e.state(ctx, id)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// state reads the control record and, while the task runs, what it last said.
func (e *Engine) state(ctx context.Context, id string) (engine.State, error) {
	s := engine.State{ID: id, Status: engine.Pending}
	stream, prefix := logOf(id)
	last, err := e.last(ctx, stream, prefix+"c")
	if err != nil || last == nil || last.kind == kindFree {
		return s, err
	}
	if last.kind == engine.KindReset {
		own, err := e.last(ctx, stream, prefix+"s")
		if err != nil {
			return s, err
		}
		if own != nil && own.seq > last.seq {
			last = own
		}
	}
	return stateOf(id, last), nil
}

func stateOf(id string, r *record) engine.State {
	s := engine.State{ID: id, Status: r.status, Record: r.payload, Attempt: r.attempt, Time: r.time}
	return s
}

// Watch implements engine.Results.
func (e *Engine) Watch(ctx context.Context, id string) iter.Seq2[engine.State, error] {
	return func(yield func(engine.State, error) bool) {
		_, prefix := logOf(id)
		l, err := e.listen(liveSubject(prefix+"c"), liveSubject(prefix+"s"))
		if err != nil {
			yield(engine.State{ID: id}, err)
			return
		}
		defer l.close()
		for {
			s, err := e.state(ctx, id)
			if !yield(s, err) || err != nil || engine.Ready(s.Status) {
				return
			}
			if e.follow(ctx, id, l, yield) {
				return
			}
		}
	}
}

// follow yields states as they are stored until something was missed.
func (e *Engine) follow(ctx context.Context, id string, l *listener, yield func(engine.State, error) bool) (done bool) {
	for {
		m, err := l.next(ctx)
		if err != nil {
			yield(engine.State{ID: id}, err)
			return true
		}
		if m == nil {
			return false
		}
		r, err := readRecord(m)
		if err != nil {
			yield(engine.State{ID: id}, err)
			return true
		}
		if r.kind == kindFree || r.kind == kindRetry {
			continue
		}
		s := stateOf(id, r)
		if !yield(s, nil) || engine.Ready(s.Status) {
			return true
		}
	}
}

// Forget implements engine.Results.
func (e *Engine) Forget(ctx context.Context, ids []string) error { return e.Delete(ctx, ids) }

// Revoke implements engine.Broker.
func (e *Engine) Revoke(ctx context.Context, states []engine.State) []error {
	out := make([]error, len(states))
	for i := range states {
		out[i] = e.revoke(ctx, &states[i])
	}
	return out
}

func (e *Engine) revoke(ctx context.Context, s *engine.State) error {
	if err := s.Check(); err != nil {
		return err
	}
	stream, prefix := logOf(s.ID)
	for {
		last, err := e.last(ctx, stream, prefix+"c")
		switch {
		case err != nil:
			return err
		case last.final():
			return nil
		case last != nil && last.kind == engine.KindReset:
			return e.flag(ctx, s)
		}
		if last == nil {
			last = &record{}
		}
		if err = e.endTask(ctx, s.ID, last, s, nil, nil); err == nil {
			return e.purge(ctx, streamTasks, subjectETA+"*."+token(s.ID)+".*")
		}
		if !errors.Is(err, engine.ErrSuperseded) {
			return err
		}
	}
}

// flag tells the owner of a running task, and whoever has it next, to stop.
func (e *Engine) flag(ctx context.Context, s *engine.State) error {
	m := natsMsg(subjectRev+token(s.ID), s.Record)
	m.Header["Rb-Keep"] = []string{fmt.Sprint(int64(keep(s).Seconds()))}
	m.Header[hdrID] = []string{oneLine(s.ID)}
	setTTL(m, engine.DefaultTTL)
	_, err := e.publish(ctx, m)
	return err
}

// fill gives every place the same error.
func fill(out []error, err error) []error {
	for i := range out {
		out[i] = err
	}
	return out
}
