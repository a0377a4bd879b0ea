package rhubarbtest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Ran is one run of a handler.
type Ran[Out any] struct {
	Out Out
	Err error

	// Emitted are the payloads given to rhubarb.Emit, in order.
	Emitted []json.RawMessage

	// States are those set with rhubarb.Progress and rhubarb.UpdateState, in
	// order.
	States []rhubarb.State
}

// Option sets a fact of the invocation for [Invoke].
type Option func(*rhubarb.Invocation)

// Retries makes it the run after n retries.
func Retries(n int) Option {
	return func(inv *rhubarb.Invocation) { inv.Retries, inv.Attempt = n, n+1 }
}

// Header gives it a header of the caller's.
func Header(key, value string) Option {
	return func(inv *rhubarb.Invocation) {
		if inv.Headers == nil {
			inv.Headers = map[string]string{}
		}
		inv.Headers[key] = value
	}
}

// invoked is the id of what [Invoke] runs.
const invoked = "test"

// Invoke runs a task's handler once, in this goroutine, with its arguments
// sent through their wire form, and returns what it did. Calls it makes
// through rhubarb.AppOf go to app and can be asserted there.
func Invoke[In, Out any](t testing.TB, app *App, task *rhubarb.Task[In, Out], in In, opts ...Option) Ran[Out] {
	t.Helper()
	call, err := task.Call(in)
	if err != nil {
		t.Fatalf("Invoke(%s): %v", task.Name(), err)
	}
	inv := &rhubarb.Invocation{
		ID: invoked, RootID: invoked, Task: task.Name(), Queue: app.DefaultQueue(), Attempt: 1,
		Args: call.Args, Kwargs: call.Kwargs,
	}
	for _, opt := range opts {
		opt(inv)
	}
	out := &recorder{}
	ctx := rhubarb.NewContext(t.Context(), app.App, inv, out)
	v, err := task.Definition().Run(ctx, inv)
	ran := Ran[Out]{Err: err, Emitted: out.emitted, States: out.states}
	if typed, ok := v.(Out); ok {
		ran.Out = typed
	}
	return ran
}

// recorder is an Output that keeps everything.
type recorder struct {
	mu      sync.Mutex
	emitted []json.RawMessage
	states  []rhubarb.State
}

func (r *recorder) Emit(_ context.Context, e engine.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emitted = append(r.emitted, e.Payload)
	return nil
}

func (r *recorder) Put(_ context.Context, status string, meta json.RawMessage) error {
	rec := celery.Result{Status: status, Result: meta, TaskID: invoked}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, rhubarb.State{ID: invoked, Status: status, Meta: meta, Record: rec.Append(nil)})
	return nil
}
