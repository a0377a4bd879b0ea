package worker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// ending is what becomes of a run: what the engine is told at once, and what
// must be true before.
type ending struct {
	engine.Settlement

	// cut are later steps of the chain, which fail with this one.
	cut []engine.StatePut

	// tell are the events to send once the engine has it.
	tell []event.Event
}

// state completes a record and makes the state that keeps it.
// celery/backends/base.py _get_result_meta.
func (r *run) state(rec *celery.Result) *engine.State {
	rec.TaskID = r.d.ID
	rec.Children = r.sent.JSON()
	if engine.Ready(rec.Status) {
		rec.DateDone = time.Now()
	}
	if r.t != nil {
		rec.ParentID, rec.GroupID = r.t.ParentID, r.t.Group
		if r.s.opts.ExtendedResults {
			r.extend(rec)
		}
	}
	return &engine.State{ID: r.d.ID, Status: rec.Status, Record: fitting(rec), TTL: r.keep()}
}

// fitting writes a record, without arguments and stamps if it is too large with
// them. Celery knows no limit.
func fitting(rec *celery.Result) []byte {
	b := rec.Append(nil)
	if len(b) > engine.MaxRecord {
		rec.Args, rec.Kwargs, rec.StampedHeaders, rec.Extra = nil, nil, nil, nil
		b = rec.Append(nil)
	}
	return b
}

// extend writes what Celery adds with result_extended.
func (r *run) extend(rec *celery.Result) {
	t := r.t
	rec.Name, rec.Worker, rec.Queue, rec.Retries = t.Name, r.s.opts.Name, r.d.Queue, &t.Retries
	rec.Args, rec.Kwargs = list(t.Args), object(t.Kwargs)
	if len(t.Stamps) > 0 {
		rec.StampedHeaders, rec.Extra = t.StampedHeaders, t.Stamps
	}
}

// list writes raw values as one.
func list(values []json.RawMessage) json.RawMessage {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

func object(values map[string]json.RawMessage) json.RawMessage {
	if len(values) == 0 {
		return json.RawMessage("{}")
	}
	raw, err := json.Marshal(values)
	if err != nil { // raw values are valid
		return json.RawMessage("{}")
	}
	return raw
}

// done ends the run with a record. Where no result is wanted, none is kept for
// readers: of a success nothing at all, of other states the status alone, from
// which the engine knows whether the task is over.
func (r *run) done(rec *celery.Result) ending {
	s := engine.Settlement{Delivery: r.d}
	switch {
	case r.kept(rec.Status):
		s.State = r.state(rec)
	case rec.Status != engine.Success:
		s.State = &engine.State{ID: r.d.ID, Status: rec.Status, TTL: r.keep()}
	}
	return r.tell(ending{Settlement: s}, rec)
}

// kept reports whether a record of that status is wanted. celery/app/trace.py
// handle_error_state, celery/worker/request.py store_errors.
func (r *run) kept(status string) bool {
	if !r.ignored() {
		return true
	}
	return status != engine.Success && (r.s.opts.KeepErrors || r.task != nil && r.task.Defaults.KeepErrors)
}

// ignored reports whether caller or task wants no result. The parts of a chord
// need one.
func (r *run) ignored() bool {
	if r.t == nil || r.t.Embed.Chord != nil {
		return false
	}
	return r.t.IgnoreResult || r.task != nil && r.task.Defaults.IgnoreResult
}

func (r *run) keep() time.Duration {
	if r.task != nil && r.task.Defaults.KeepResult != 0 {
		return r.task.Defaults.KeepResult
	}
	return r.s.app.KeepResults()
}

// started is the meta of the state STARTED.
type started struct {
	PID      int    `json:"pid"`
	Hostname string `json:"hostname"`
}

// markStarted keeps the state STARTED where that is wanted.
// celery/app/trace.py trace_task: not where the result is ignored.
func (r *run) markStarted(ctx context.Context) {
	if !r.s.opts.TrackStarted && !r.task.Defaults.TrackStarted || r.ignored() {
		return
	}
	meta, err := json.Marshal(started{os.Getpid(), r.s.opts.Name})
	if err == nil {
		err = r.out.Put(ctx, engine.Started, meta)
	}
	if err != nil && !errors.Is(err, rhubarb.ErrSuperseded) && ctx.Err() == nil {
		r.s.log.Warn("keep state STARTED", "task", r.t.Name, "id", r.d.ID, "err", err)
	}
}

// cutChain fails the later steps of a chain as their first failing one, so that
// nobody waits for them in vain. Steps that are made when they are sent have no
// id yet, and nobody knows them. celery/backends/base.py mark_as_failure.
func (r *run) cutChain(rec *celery.Result) []engine.StatePut {
	if len(r.t.Embed.Chain) == 0 || !r.kept(engine.Failure) {
		return nil
	}
	var puts []engine.StatePut
	for steps := r.t.Embed.Chain; len(steps) > 0; steps = steps[1:] {
		step := steps[0]
		if body, ok := chordBody(step); ok {
			steps = append(steps[:len(steps):len(steps)], body)
		}
		id := textOf(step.Options["task_id"])
		if id == "" || len(id) > engine.MaxID {
			continue
		}
		own := celery.Result{Status: engine.Failure, Result: rec.Result, Traceback: rec.Traceback,
			DateDone: time.Now(), TaskID: id, GroupID: textOf(step.Options["group_id"])}
		if r.s.opts.ExtendedResults {
			own.Name, own.Args, own.Kwargs = step.Task, list(step.Args), object(step.Kwargs)
		}
		puts = append(puts, engine.StatePut{State: engine.State{ID: id, Status: own.Status, Record: fitting(&own), TTL: r.keep()}})
	}
	return puts
}

// chordBody returns the body of a step that is a chord: what comes after it
// waits for that.
func chordBody(step rhubarb.Signature) (body rhubarb.Signature, ok bool) {
	if step.SubtaskType == nil || *step.SubtaskType != "chord" || step.Kwargs["body"] == nil {
		return body, false
	}
	return body, json.Unmarshal(step.Kwargs["body"], &body) == nil
}

// textOf returns a raw string, or "" for anything else.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
