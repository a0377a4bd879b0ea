package worker

import (
	"encoding/json"
	"strings"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// newSender makes what sends this session's events. Whether those of tasks are
// on is the worker's to remember: a Sender runs once.
func (w *Worker) newSender() (*event.Sender, error) {
	return event.NewSender(w.app.Engines().Broker, &event.SenderOptions{
		Hostname: w.opts.Name, Clock: &w.clock, TaskEvents: w.opts.Events, Logger: w.log,
		Report: func() event.Report {
			return event.Report{Active: w.Active(), Processed: int(w.processed.Load())}
		},
	})
}

// tellReceived tells that the worker has taken a task that it can run.
// celery/worker/strategy.py default.
func (r *run) tellReceived() {
	if !r.s.events.Enabled() {
		return
	}
	t := r.t
	args, kwargs := t.ArgsRepr, t.KwargsRepr
	if args == "" && kwargs == "" {
		args, kwargs = celery.Repr(t.Args, t.Kwargs)
	}
	name := t.Name
	if t.Shadow != "" { // celery/worker/request.py Request.name
		name = t.Shadow
	}
	r.s.events.Send(event.TaskReceived(event.Taken{ID: r.d.ID, Name: name, Args: args, Kwargs: kwargs,
		RootID: t.RootID, ParentID: t.ParentID, Retries: t.Retries, ETA: t.ETA, Expires: t.Expires}))
}

// tellStarted tells that the handler begins.
func (r *run) tellStarted() {
	if r.s.events.Enabled() {
		r.s.events.Send(event.TaskStarted(r.d.ID))
	}
}

// tell notes for an ending what its watchers are told once the engine has it.
func (r *run) tell(e ending, rec *celery.Result) ending {
	if !r.s.events.Enabled() || r.t == nil {
		return e
	}
	trace := ""
	if rec.Traceback != nil {
		trace = *rec.Traceback
	}
	switch rec.Status {
	case engine.Success:
		e.tell = append(e.tell, event.TaskSucceeded(r.d.ID, celery.ReprValue(rec.Result), time.Since(time.Unix(0, r.began.Load()))))
	case engine.Failure:
		e.tell = append(e.tell, event.TaskFailed(r.d.ID, reprException(rec.Result), trace))
	case engine.Retry:
		e.tell = append(e.tell, event.TaskRetried(r.d.ID, reprException(rec.Result), trace))
	case engine.Revoked:
		e.tell = append(e.tell, r.tellRevoked(rec))
	}
	return e
}

// tellRevoked says how a task was stopped: while it ran, or before, because its
// time was over or somebody said so.
func (r *run) tellRevoked(rec *celery.Result) event.Event {
	x, _ := celery.ExceptionOf(rec.Result)
	switch {
	case r.began.Load() > 0:
		return event.TaskTerminated(r.d.ID, int(syscall.SIGTERM))
	case x.Text() == "expired":
		return event.TaskExpired(r.d.ID)
	}
	return event.TaskRevoked(r.d.ID)
}

// reprException shows a record's exception as Python does: ValueError('boom').
func reprException(raw json.RawMessage) string {
	x, ok := celery.ExceptionOf(raw)
	if !ok {
		return "None"
	}
	if x.Type == "Reject" && x.Module == "celery.exceptions" { // celery/exceptions.py Reject.__repr__
		reason, _, _ := strings.Cut(x.Text(), ", false")
		return "reject requeue=False: " + reason
	}
	args := make([]string, len(x.Args))
	for i, a := range x.Args {
		args[i] = celery.ReprValue(a)
	}
	return x.Type + "(" + strings.Join(args, ", ") + ")"
}
