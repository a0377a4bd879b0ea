package rhubarb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Handler runs one invocation and returns the task's output. Run middleware
// wraps one Handler in another.
type Handler func(ctx context.Context, inv *Invocation) (any, error)

// Invocation is the facts of one run of a task. A handler reads it with
// [Current] and does not change it.
type Invocation struct {
	ID       string
	Task     string
	RootID   string // the task that began it all; ID if this one did
	ParentID string // the task that sent this one; empty if none did
	GroupID  string
	Queue    string

	// Attempt counts the runs from 1: after a retry as after a crash.
	Attempt int
	// Retries counts those that the task asked for.
	Retries int

	// Headers are the caller's own. What is no string stands here as its JSON.
	Headers map[string]string
	// RawHeaders are the same as they came.
	RawHeaders map[string]json.RawMessage

	// Stamps are the headers that stay with the task, see [Call.Stamps].
	Stamps map[string]json.RawMessage

	// Fence grows with every attempt; hand it to stores that can refuse an
	// outdated writer.
	Fence engine.Fence

	// ETA and Expires as the caller gave them; zero if not.
	ETA, Expires time.Time

	// Args and Kwargs are the arguments as they came.
	Args   []json.RawMessage
	Kwargs map[string]json.RawMessage

	// Priority as it was sent. Calls made inside the task inherit it if the
	// app's options say so.
	Priority int

	// Sent collects the ids of the tasks this one sends. It may be nil.
	Sent *Children

	app *App
	out Output
}

// Output is where an invocation's records and states go. The worker gives it;
// it keeps their order.
type Output interface {
	// Emit hands over one record of the stream. It may return before the
	// record is stored, and waits while too much is under way.
	Emit(ctx context.Context, e engine.Entry) error
	// Put keeps a state that is not final, with its meta as JSON, and waits
	// until it is stored.
	Put(ctx context.Context, status string, meta json.RawMessage) error
}

// NewContext returns a context in which inv is current. It is for workers.
func NewContext(ctx context.Context, app *App, inv *Invocation, out Output) context.Context {
	inv.app, inv.out = app, out
	return context.WithValue(ctx, invocationKey{}, inv)
}

type invocationKey struct{}

// Current returns the invocation that ctx belongs to, or nil outside a task.
func Current(ctx context.Context) *Invocation {
	inv, _ := ctx.Value(invocationKey{}).(*Invocation)
	return inv
}

// AppOf returns the app whose worker runs the task, for tasks that call tasks,
// or nil outside a task.
func AppOf(ctx context.Context) *App {
	if inv := Current(ctx); inv != nil {
		return inv.app
	}
	return nil
}

// Progress tells how far the task is: current of total. It becomes the state
// PROGRESS with Celery users' usual meta {"current": …, "total": …} and a
// record of kind progress in the stream. Errors mean that the run should stop
// (see [context.Cause]) or that the engine is away; most handlers ignore them.
func Progress(ctx context.Context, current, total int) error {
	return UpdateState(ctx, engine.Progress, progress{current, total})
}

type progress struct {
	Current int `json:"current"`
	Total   int `json:"total"`
}

// UpdateState sets a state of the task's own, with a meta for its readers, as
// Celery's update_state. Final states cannot be set: they come from what the
// handler returns.
func UpdateState(ctx context.Context, status string, meta any) error {
	inv := Current(ctx)
	if inv == nil {
		return ErrNoInvocation
	}
	if engine.Ready(status) || status == "" || status == engine.Pending {
		return fmt.Errorf("rhubarb: update state: %q cannot be set by a handler", status)
	}
	raw, err := celery.Marshal(meta)
	if err != nil {
		return fmt.Errorf("rhubarb: update state: meta: %w", err)
	}
	return inv.out.Put(ctx, status, raw)
}

// Emit writes a record of kind data to the task's stream: v as JSON, so a
// string arrives as a JSON string. A [json.RawMessage] is taken as it is. It
// returns before the record is stored, and waits only while 1 MiB is under
// way; an error of an earlier Emit is returned by a later one.
func Emit(ctx context.Context, v any) error {
	inv := Current(ctx)
	if inv == nil {
		return ErrNoInvocation
	}
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return fmt.Errorf("rhubarb: emit: %w", err)
		}
	} else if !json.Valid(raw) {
		return errors.New("rhubarb: emit: the raw message is not valid JSON")
	}
	return inv.out.Emit(ctx, engine.Entry{Kind: engine.KindData, Payload: raw})
}
