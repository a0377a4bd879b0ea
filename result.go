package rhubarb

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
	"github.com/rhubarb-go/rhubarb/stream"
)

// Result is a handle on a task that was sent. It holds no connection and may
// be used by any number of goroutines.
type Result[Out any] struct {
	id        string
	duplicate bool
	app       *App
}

// ResultOf returns a typed handle on a task by its id.
func ResultOf[Out any](app *App, id string) *Result[Out] { return &Result[Out]{id: id, app: app} }

// ID returns the task's id.
func (r *Result[Out]) ID() string { return r.id }

// Duplicate reports whether the call attached to an earlier one with the same
// idempotency key.
func (r *Result[Out]) Duplicate() bool { return r.duplicate }

// State is what is known of a task at one moment.
type State struct {
	ID     string
	Status string // Celery's names: PENDING, STARTED, SUCCESS …

	// Attempt is the run the state is of, from 1; 0 if none has begun.
	Attempt int

	// Time is when the state was written; zero for PENDING.
	Time time.Time

	// Meta is the output after SUCCESS, else the state's meta, as JSON.
	Meta json.RawMessage

	// Err tells what went wrong, in final states other than SUCCESS and in
	// RETRY.
	Err *TaskError

	// Record is Celery's result JSON, whole.
	Record json.RawMessage
}

// Ready reports whether the state is final.
func (s State) Ready() bool { return engine.Ready(s.Status) }

// Progress returns how far the task is if it said so.
func (s State) Progress() (current, total int, ok bool) {
	var p progress
	if s.Status != engine.Progress || json.Unmarshal(s.Meta, &p) != nil || p.Total == 0 {
		return 0, 0, false
	}
	return p.Current, p.Total, true
}

func newState(s engine.State) (State, error) {
	out := State{ID: s.ID, Status: s.Status, Attempt: s.Attempt, Time: s.Time, Record: s.Record}
	if len(s.Record) == 0 {
		return out, nil
	}
	rec, err := celery.DecodeResult(s.Record)
	if err != nil {
		return out, fmt.Errorf("rhubarb: state of %s: %w", s.ID, err)
	}
	if out.Meta, err = celery.Plain(rec.Result); err != nil {
		return out, fmt.Errorf("rhubarb: state of %s: %w", s.ID, err)
	}
	if x, ok := celery.ExceptionOf(rec.Result); ok && s.Status == engine.Failure && x.Type == "Reject" && x.Module == "celery.exceptions" {
		out.Status = engine.Rejected // celery/worker/request.py on_failure keeps it as a FAILURE
	}
	if s.Status == engine.Retry || engine.Ready(s.Status) && s.Status != engine.Success {
		out.Err = taskError(s.ID, out.Status, rec)
	}
	return out, nil
}

// State returns what is known of the task now. An unknown task is PENDING, as
// in Celery.
func (r *Result[Out]) State(ctx context.Context) (State, error) {
	states, err := r.app.engines.Results.Get(ctx, []string{r.id})
	if err != nil {
		return State{}, fmt.Errorf("rhubarb: state of %s: %w", r.id, err)
	}
	return newState(states[0])
}

// Watch yields the present state and every later one, and ends after a final
// one. States in quick succession may be merged.
func (r *Result[Out]) Watch(ctx context.Context) iter.Seq2[State, error] {
	return func(yield func(State, error) bool) {
		for es, err := range r.app.engines.Results.Watch(ctx, r.id) {
			if err != nil {
				yield(State{ID: r.id}, fmt.Errorf("rhubarb: watch %s: %w", r.id, err))
				return
			}
			if s, err := newState(es); !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// Get waits for the end of the task and returns its output. A task that did
// not succeed gives a [*TaskError]. One whose result is ignored gives the zero
// value, once it has ended.
func (r *Result[Out]) Get(ctx context.Context) (Out, error) {
	var out Out
	for s, err := range r.Watch(ctx) {
		if err != nil {
			return out, err
		}
		if !s.Ready() {
			continue
		}
		if s.Status == engine.Ignored && len(s.Record) == 0 { // nothing is kept of it
			return out, nil
		}
		if s.Status != engine.Success {
			if s.Err == nil {
				s.Err = &TaskError{ID: s.ID, Status: s.Status}
			}
			return out, s.Err
		}
		if len(s.Meta) == 0 { // its result was ignored
			return out, nil
		}
		if err := json.Unmarshal(s.Meta, &out); err != nil {
			return out, fmt.Errorf("rhubarb: result of %s: %w", r.id, err)
		}
		return out, nil
	}
	if err := ctx.Err(); err != nil {
		return out, fmt.Errorf("rhubarb: wait for %s: %w", r.id, context.Cause(ctx))
	}
	return out, fmt.Errorf("rhubarb: wait for %s: %w", r.id, engine.ErrClosed)
}

// Revoke stops the task; see [App.Revoke].
func (r *Result[Out]) Revoke(ctx context.Context) error { return r.app.Revoke(ctx, r.id) }

// Forget removes result and stream.
func (r *Result[Out]) Forget(ctx context.Context) error {
	if err := r.app.engines.Results.Forget(ctx, []string{r.id}); err != nil {
		return fmt.Errorf("rhubarb: forget %s: %w", r.id, err)
	}
	return nil
}

// Stream returns the task's own stream.
func (r *Result[Out]) Stream() *stream.Stream { return stream.Open(r.app.engines.Streams, r.id) }
