package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// run is one delivery on its way through the worker.
type run struct {
	s    *session
	d    *engine.Delivery
	t    *celery.Task
	task *task
	from *intake

	slot   atomic.Bool                             // it counts as one that runs
	known  atomic.Bool                             // t and task are set and do not change any more
	began  atomic.Int64                            // when the handler started, Unix nanoseconds; 0 before
	cancel atomic.Pointer[context.CancelCauseFunc] // nil before the handler starts
	cause  atomic.Pointer[error]                   // why it was stopped, if it was
	over   atomic.Bool                             // decided: settled, lost or abandoned
	out    *output
	sent   rhubarb.Children
}

// panicError is a handler's panic as its task's failure.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }

// start decides whether the message can be run, and runs it.
func (r *run) start() {
	if done, ok := r.admit(); !ok {
		r.s.finish(r, done)
		return
	}
	r.s.processed.Add(1)
	r.task.accepted.Add(1)
	r.known.Store(true)
	r.tellReceived()
	ctx, cancel := context.WithCancelCause(r.s.work)
	defer cancel(nil)
	r.out = &output{run: r}
	r.cancel.Store(&cancel)            // those who stop it see r.out from here on
	if c := r.cause.Load(); c != nil { // stopped before there was a context
		cancel(*c)
	}
	if st, ok := r.await(ctx); !ok {
		r.s.finish(r, st)
		return
	}
	r.began.Store(time.Now().UnixNano())
	r.tellStarted()
	inv := r.invocation()
	soft, hard := r.limits()
	if soft > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, soft, rhubarb.ErrSoftLimit)
		defer stop()
	}
	if hard > 0 {
		defer time.AfterFunc(hard, func() { r.hardLimit(hard) }).Stop()
	}
	ctx = rhubarb.NewContext(ctx, r.s.app, inv, r.out)
	if ret := r.task.Defaults.Retention; ret != (engine.Retention{}) {
		r.s.app.Engines().Streams.Retain(r.d.ID, r.d.Fence, ret)
	}
	r.markStarted(ctx)
	if r.over.Load() {
		return // another owner has it
	}
	v, err := r.call(ctx, inv)
	if r.over.Load() {
		return // hard limit, shutdown or another owner came first
	}
	r.out.drain()
	r.s.finish(r, r.outcome(ctx, v, err))
}

// call runs the handler and turns its panic into an error.
func (r *run) call(ctx context.Context, inv *rhubarb.Invocation) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return r.task.run(ctx, inv)
}

func (r *run) limits() (soft, hard time.Duration) {
	soft, hard = r.task.Defaults.SoftLimit, r.task.Defaults.HardLimit
	if l := r.task.limits.Load(); l != nil {
		soft, hard = l.soft, l.hard
	}
	if r.t.SoftLimit > 0 {
		soft = r.t.SoftLimit
	}
	if r.t.HardLimit > 0 {
		hard = r.t.HardLimit
	}
	return soft, hard
}

// hardLimit fails the task and frees its slot while the handler still runs.
func (r *run) hardLimit(limit time.Duration) {
	if r.over.Load() {
		return
	}
	r.s.log.Warn("hard time limit exceeded: goroutine abandoned", "task", r.task.Name, "id", r.d.ID, "limit", limit)
	// celery/worker/request.py on_timeout: TimeLimitExceeded(hard limit in seconds).
	// It comes first, so that a handler that now returns is too late.
	r.s.finish(r, r.failure(celery.Exception{Type: "TimeLimitExceeded", Module: "billiard.exceptions"}.With(seconds(limit)), ""))
	r.stop(rhubarb.ErrSoftLimit)
}

// seconds is a limit as its sender wrote it: 1 and not 1.0.
func seconds(limit time.Duration) any {
	if s := limit / time.Second; s*time.Second == limit {
		return int64(s)
	}
	return limit.Seconds()
}

// revokeGrace is how long a revoked handler may take to return.
const revokeGrace = 10 * time.Second

// stop cancels the handler's context with a cause.
func (r *run) stop(cause error) {
	if !r.cause.CompareAndSwap(nil, &cause) {
		return
	}
	if cancel := r.cancel.Load(); cancel != nil {
		(*cancel)(cause)
	}
	if cause == rhubarb.ErrRevoked {
		time.AfterFunc(revokeGrace, func() {
			if !r.over.Load() {
				r.s.log.Warn("revoked task ignores its cancelled context: goroutine abandoned", "task", r.d.Task, "id", r.d.ID)
				r.s.finish(r, r.revoked("terminated"))
			}
		})
	}
}

// supersede gives the delivery up without a word to the engine.
func (r *run) supersede() {
	r.stop(rhubarb.ErrSuperseded)
	if r.over.CompareAndSwap(false, true) {
		r.s.log.Warn("task was given to another worker", "task", r.d.Task, "id", r.d.ID)
		r.s.drop(r.d)
		r.free()
	}
}

// invocation collects the facts a handler may ask for.
func (r *run) invocation() *rhubarb.Invocation {
	t, d := r.t, r.d
	inv := &rhubarb.Invocation{
		ID: d.ID, Task: t.Name, RootID: t.RootID, ParentID: t.ParentID, GroupID: t.Group,
		Queue: d.Queue, Attempt: d.Attempt, Retries: t.Retries, Fence: d.Fence,
		ETA: t.ETA, Expires: t.Expires, Args: t.Args, Kwargs: t.Kwargs, Priority: d.Priority,
		Sent: &r.sent, RawHeaders: t.Extra, Stamps: t.Stamps,
	}
	if inv.RootID == "" {
		inv.RootID = d.ID
	}
	for k, raw := range t.Extra {
		if inv.Headers == nil {
			inv.Headers = make(map[string]string, len(t.Extra))
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		inv.Headers[k] = s
	}
	return inv
}
