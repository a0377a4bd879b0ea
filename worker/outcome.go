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
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// admit reads the message and says what becomes of it if it cannot be run.
func (r *run) admit() (ending, bool) {
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
		return r.park(partOfChord), false
	case !t.Expires.IsZero() && !time.Now().Before(t.Expires):
		return r.revoked("expired"), false
	case r.s.forbidden(t):
		return r.revoked("revoked"), false
	case r.task.Defaults.AckEarly && r.d.Deliveries > 1:
		x := celery.Exception{Type: "WorkerLostError", Module: "billiard.exceptions"}
		return r.failure(x.With("the worker died while the task ran, and it runs at most once"), ""), false
	}
	return ending{}, true
}

// outcome decides what follows from what the handler returned.
func (r *run) outcome(ctx context.Context, v any, err error) ending {
	cause := context.Cause(ctx)
	reason, rejected := rhubarb.Rejection(err)
	switch {
	case errors.Is(cause, rhubarb.ErrRevoked):
		return r.revoked("terminated")
	case err != nil && errors.Is(cause, rhubarb.ErrShutdown):
		return r.giveBack()
	case err == nil:
		return r.success(v)
	case errors.Is(err, rhubarb.Ignore):
		return r.done(&celery.Result{Status: engine.Ignored})
	case rejected:
		// celery/worker/request.py on_failure: Reject(reason, requeue) is kept as a FAILURE.
		x := celery.Exception{Type: "Reject", Module: "celery.exceptions"}.With(reason, false)
		e := bury(r.failure(x, ""), "rejected by the task: "+reason)
		if e.tell != nil {
			e.tell = append(e.tell, event.TaskRejected(r.d.ID))
		}
		return e
	}
	if wait, again := r.task.Defaults.Retry.Decide(err, r.t.Retries); again {
		return r.retry(err, wait)
	}
	x, trace := describe(cause, err)
	return r.failure(x, trace)
}

func (r *run) success(v any) ending {
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
	// celery/app/trace.py: before the record, which names them as children.
	links, next := r.links(r.t.Embed.Callbacks, raw), r.nextStep(raw)
	e := r.done(&celery.Result{Status: engine.Success, Result: raw})
	e.Follow = append(links, next...)
	if len(next) == 0 { // nothing, where there is no chain
		x := celery.Exception{Type: "ValueError", Module: "builtins"}.With("the next step of the chain could not be called")
		e.cut = r.cutChain(&celery.Result{Result: x.JSON()})
	}
	return e
}

func (r *run) failure(x celery.Exception, trace string) ending {
	rec := &celery.Result{Status: engine.Failure, Result: x.JSON()}
	if trace != "" {
		rec.Traceback = &trace
	}
	e := r.done(rec)
	if r.t != nil {
		e.Follow = r.errorLinks(r.t.Embed.Errbacks, rec)
		e.cut = r.cutChain(rec)
	}
	return e
}

// revoked ends a run that was stopped, or that never began.
// celery/worker/request.py _announce_revoked.
func (r *run) revoked(reason string) ending {
	x := celery.Exception{Type: "TaskRevokedError", Module: "celery.exceptions"}.With(reason)
	return r.done(&celery.Result{Status: engine.Revoked, Result: x.JSON()})
}

func (r *run) giveBack() ending {
	return ending{Settlement: engine.Settlement{Delivery: r.d, Verdict: engine.Return}}
}

// retry keeps the state RETRY and sends the same message again, one retry
// later. celery/app/task.py Task.retry.
func (r *run) retry(err error, wait time.Duration) ending {
	again := *r.t
	again.Retries++
	again.ETA = time.Now().Add(wait)
	again.Redelivered = false
	if again.ParentID == "" { // celery/app/base.py send_task: it is sent from inside a task
		again.ParentID = r.d.ID
	}
	m, encErr := again.Message()
	if encErr != nil {
		x, trace := describe(nil, fmt.Errorf("%w (and the retry cannot be sent: %v)", err, encErr))
		return r.failure(x, trace)
	}
	r.sent.Add(r.d.ID) // Celery's too is a child of its own
	e := r.done(retryRecord(err))
	e.Follow = []engine.Publication{{
		Message: m, Queue: r.d.Queue, Priority: r.d.Priority, At: again.ETA, Round: again.Retries,
	}}
	return e
}

// retryRecord tells why there is a retry, or nothing if the handler did not
// say.
func retryRecord(err error) *celery.Result {
	rec := &celery.Result{Status: engine.Retry}
	if errors.Is(err, rhubarb.ErrMaxRetries) {
		return rec
	}
	x, trace := describe(nil, err)
	rec.Result = x.JSON()
	if trace != "" {
		rec.Traceback = &trace
	}
	return rec
}

// unreadable dead-letters a message that is not a task.
func (r *run) unreadable(err error) ending {
	r.s.log.Error("message dead-lettered", "task", r.d.Task, "id", r.d.ID, "queue", r.d.Queue, "err", err)
	x := celery.Exception{Type: "DecodeError", Module: "kombu.exceptions"}.With(err.Error())
	return bury(r.done(&celery.Result{Status: engine.Failure, Result: x.JSON()}), err.Error())
}

func (r *run) park(reason string) ending {
	r.s.log.Warn("task parked", "task", r.d.Task, "id", r.d.ID, "queue", r.d.Queue, "err", reason)
	return ending{Settlement: engine.Settlement{Delivery: r.d, Verdict: engine.Park, Reason: reason}}
}

// bury has the message of a failed run kept as a dead letter.
func bury(e ending, reason string) ending {
	e.Verdict, e.Reason = engine.Bury, reason
	return e
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
	case errors.Is(err, rhubarb.ErrMaxRetries):
		x.Type, x.Module = "MaxRetriesExceededError", "celery.exceptions"
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
