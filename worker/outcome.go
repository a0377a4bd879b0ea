package worker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// admit reads the message and says what becomes of it if it cannot be run.
func (r *run) admit() (engine.Settlement, bool) {
	t, err := celery.Decode(r.d.Message, r.s.limits())
	if err == nil {
		r.t = t
		err = t.DecodeBody()
	}
	if err != nil {
		return r.unreadable(err), false
	}
	r.task = r.s.tasks[t.Name]
	switch {
	case r.task == nil:
		return r.park(fmt.Sprintf("no worker of queue %s knows task %s", r.d.Queue, t.Name)), false
	case t.Embed.Chord != nil:
		return r.park("it is part of a chord, which this version does not run"), false
	case !t.Expires.IsZero() && !time.Now().Before(t.Expires):
		return r.revoked("expired"), false
	case r.task.Defaults.AckEarly && r.d.Deliveries > 1:
		x := celery.Exception{Type: "WorkerLostError", Module: "billiard.exceptions"}
		return r.failure(x.With("the worker died while the task ran, and it runs at most once"), ""), false
	}
	return engine.Settlement{}, true
}

// outcome decides what follows from what the handler returned.
func (r *run) outcome(ctx context.Context, v any, err error) engine.Settlement {
	cause := context.Cause(ctx)
	reason, rejected := rhubarb.Rejection(err)
	switch {
	case errors.Is(cause, rhubarb.ErrRevoked):
		return r.revoked("terminated")
	case err != nil && errors.Is(cause, rhubarb.ErrShutdown):
		return engine.Settlement{Delivery: r.d, Verdict: engine.Return}
	case err == nil:
		return r.success(v)
	case errors.Is(err, rhubarb.Ignore):
		return r.done(&celery.Result{Status: engine.Ignored})
	case rejected:
		x := celery.Exception{Type: "Reject", Module: "celery.exceptions"}.With(reason)
		return r.bury(&celery.Result{Status: engine.Rejected, Result: x.JSON()}, "rejected by the task: "+reason)
	}
	if wait, again := r.task.Defaults.Retry.Decide(err, r.t.Retries); again {
		return r.retry(err, wait)
	}
	x, trace := describe(cause, err)
	return r.failure(x, trace)
}

func (r *run) success(v any) engine.Settlement {
	raw, err := celery.Marshal(v)
	if err != nil {
		x := celery.Exception{Type: "EncodeError", Module: "kombu.exceptions"}
		return r.failure(x.With("the task's output cannot be sent as JSON: "+err.Error()), "")
	}
	if len(raw) > engine.MaxRecord/2 {
		x := celery.Exception{Type: "EncodeError", Module: "kombu.exceptions"}
		return r.failure(x.With(fmt.Sprintf("the task's output has %d bytes, at most %d are kept: store it elsewhere and return a reference", len(raw), engine.MaxRecord/2)), "")
	}
	if _, none := v.(rhubarb.None); none {
		raw = []byte("null")
	}
	follow := r.follow(r.t.Embed.Callbacks, "link", raw)
	if len(r.t.Embed.Chain) > 0 {
		follow = append(follow, r.nextStep(raw)...)
	}
	s := r.done(&celery.Result{Status: engine.Success, Result: raw}) // names what follows as its children
	s.Follow = follow
	return s
}

func (r *run) failure(x celery.Exception, trace string) engine.Settlement {
	rec := &celery.Result{Status: engine.Failure, Result: x.JSON()}
	if trace != "" {
		rec.Traceback = &trace
	}
	var follow []engine.Publication
	if r.t != nil {
		follow = r.follow(r.t.Embed.Errbacks, "link_error", quote(r.d.ID))
	}
	s := r.done(rec)
	s.Follow = follow
	return s
}

func (r *run) revoked(reason string) engine.Settlement {
	s := rhubarb.RevokedState(r.d.ID, reason, r.keep())
	return engine.Settlement{Delivery: r.d, State: &s}
}

// retry keeps the state RETRY and sends the same message again, one retry
// later. celery/app/task.py Task.retry.
func (r *run) retry(err error, wait time.Duration) engine.Settlement {
	again := *r.t
	again.Retries++
	again.ETA = time.Now().Add(wait)
	m, encErr := again.Message()
	if encErr != nil {
		x, trace := describe(nil, fmt.Errorf("%w (and the retry cannot be sent: %v)", err, encErr))
		return r.failure(x, trace)
	}
	x, trace := describe(nil, err)
	s := r.done(&celery.Result{Status: engine.Retry, Result: x.JSON()})
	if trace != "" {
		s = r.done(&celery.Result{Status: engine.Retry, Result: x.JSON(), Traceback: &trace})
	}
	s.Follow = []engine.Publication{{
		Message: m, Queue: r.d.Queue, Priority: r.d.Priority, At: again.ETA, Round: again.Retries,
	}}
	return s
}

// unreadable dead-letters a message that is not a task.
func (r *run) unreadable(err error) engine.Settlement {
	r.s.log.Error("message dead-lettered", "task", r.d.Task, "id", r.d.ID, "queue", r.d.Queue, "err", err)
	x := celery.Exception{Type: "DecodeError", Module: "kombu.exceptions"}.With(err.Error())
	return r.bury(&celery.Result{Status: engine.Failure, Result: x.JSON()}, err.Error())
}

func (r *run) park(reason string) engine.Settlement {
	r.s.log.Warn("task parked", "task", r.d.Task, "id", r.d.ID, "queue", r.d.Queue, "err", reason)
	return engine.Settlement{Delivery: r.d, Verdict: engine.Park, Reason: reason}
}

func (r *run) bury(rec *celery.Result, reason string) engine.Settlement {
	s := r.done(rec)
	s.Verdict, s.Reason = engine.Bury, reason
	return s
}

// done completes the record and makes the settlement that keeps it. Where no
// result is wanted the state is kept, since it ends the stream and tells a
// duplicate from a new task, but not the output.
func (r *run) done(rec *celery.Result) engine.Settlement {
	rec.TaskID = r.d.ID
	if engine.Ready(rec.Status) {
		rec.DateDone = time.Now()
	}
	if r.t != nil {
		rec.ParentID, rec.GroupID = r.t.ParentID, r.t.Group
		if r.ignored() && rec.Status == engine.Success {
			rec.Result = []byte("null")
		}
	}
	rec.Children = r.sent.JSON()
	return engine.Settlement{Delivery: r.d, State: &engine.State{
		ID: r.d.ID, Status: rec.Status, Record: rec.Append(nil), TTL: r.keep(),
	}}
}

func (r *run) ignored() bool {
	return r.t.IgnoreResult || r.task != nil && r.task.Defaults.IgnoreResult
}

func (r *run) keep() time.Duration {
	if r.task != nil && r.task.Defaults.KeepResult != 0 {
		return r.task.Defaults.KeepResult
	}
	return r.s.app.KeepResults()
}

// maxTrace bounds what is kept of a traceback, in bytes.
const maxTrace = 16 << 10

// describe writes a Go error as the exception a Python reader expects.
func describe(cause, err error) (x celery.Exception, trace string) {
	var wrong *rhubarb.ArgumentError
	var panicked *panicError
	x = celery.Exception{Type: typeName(err), Module: "rhubarb"}
	switch {
	case errors.As(err, &wrong):
		x.Type, x.Module = "TypeError", "builtins"
	case errors.As(err, &panicked):
		x.Type, trace = "Panic", string(panicked.stack)
	case errors.Is(cause, rhubarb.ErrSoftLimit):
		x.Type, x.Module = "SoftTimeLimitExceeded", "billiard.exceptions"
	}
	if len(trace) > maxTrace {
		trace = trace[:maxTrace]
	}
	return x.With(strings.ToValidUTF8(err.Error(), "\uFFFD")), trace
}

// typeName names an error for people: its exported Go type, else "Error".
func typeName(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		t := reflect.TypeOf(err)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if name := t.Name(); name != "" && unicode.IsUpper([]rune(name)[0]) {
			return name
		}
	}
	return "Error"
}
