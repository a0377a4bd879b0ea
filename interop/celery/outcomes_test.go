package celery_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// is waits until the record of the run's call has a state, and returns it.
func (r *run) is(state string) *celery.Result {
	r.Helper()
	tick := time.NewTicker(20 * time.Millisecond) // a record makes no sound that all kinds of clients hear
	defer tick.Stop()
	for {
		if raw, _ := r.record(r.call); raw != nil {
			rec, err := celery.DecodeResult(raw)
			if err != nil {
				r.Fatalf("the record %s: %v", raw, err)
			}
			if rec.Status == state {
				r.fields(raw, rec)
				return rec
			}
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.Fatalf("the state was never %s", state)
		}
	}
}

// meta checks the state of a task that waits, and lets it go on.
func meta(state string, want any) func(*run) {
	return func(r *run) {
		r.same("the meta of "+state, r.is(state).Result, want, bare)
		r.open(r.gate())
	}
}

// started checks who is said to run a task.
func started(r *run) {
	var by struct {
		PID      int
		Hostname string
	}
	raw := r.is("STARTED").Result
	if err := json.Unmarshal(raw, &by); err != nil || by.PID < 1 || by.Hostname != r.node() {
		r.Errorf("it is started by %s (%v), want a pid of %s", raw, err, r.node())
	}
	r.open(r.gate())
}

// unheard checks that a task has ended with these events and without a result.
func unheard(events string) func(*run) {
	return func(r *run) {
		r.heard(r.call, events)
		if raw, _ := r.record(r.call); raw != nil {
			r.Errorf("the record %s is there, want none", raw)
		}
	}
}

// ignored checks that a task ends without a result: rhubarb alone keeps a
// state, so that nobody waits for it.
func ignored(r *run) {
	if r.to == golang {
		r.heard(r.call, "sent received started")
		r.is("IGNORED")
		return
	}
	unheard("sent received started")(r)
}

const failure = "sent received started failed"

var outcomes = []scenario{
	{
		name: "an error", send: func(*run) *call { return one("fail", "oh no", 7) },
		want: failed("ValueError", "oh no"), events: failure,
	},
	{
		name: "an argument is missing", send: func(*run) *call { return one("add", 1) },
		want: failed("TypeError", "y"), events: failure,
	},
	{
		name: "an argument too many", send: func(*run) *call { return one("add", 1, 2, 3) },
		want: failed("TypeError", "3"), events: failure,
	},
	{
		name: "an argument of an unknown name",
		send: func(*run) *call { return &call{Task: "interop.add", Kwargs: object{"x": 1, "y": 2, "zz": 3}} },
		want: failed("TypeError", "zz"), events: failure,
	},
	{
		name: "retries, then success", send: func(*run) *call { return one("flaky", 2) },
		want:   succeeded(2),
		events: "sent received started retried received started retried received started succeeded",
	},
	{
		name: "retries, then an error", send: func(*run) *call { return one("hopeless") },
		want:   failed("ValueError", "never"),
		events: "sent received started retried received started failed",
	},
	{
		name: "progress", send: gated("progress"),
		during: meta("PROGRESS", object{"current": 1, "total": 2}), want: succeeded("done"), events: ordinary,
	},
	{
		name: "a state of its own", send: gated("custom"),
		during: meta("BAKING", object{"oven": 3, "hot": true}), want: succeeded("baked"), events: ordinary,
	},
	{
		name: "track_started", send: gated("tracked"),
		during: started, want: succeeded("done"), events: ordinary,
	},
	{
		name: "a soft limit of the task", send: func(*run) *call { return one("limited", 30) },
		want: failed("SoftTimeLimitExceeded", ""), events: failure,
	},
	{
		name: "a soft limit of the call",
		send: func(*run) *call { return &call{Task: "interop.sleep", Args: []any{30}, Soft: time.Second} },
		want: failed("SoftTimeLimitExceeded", ""), events: failure,
	},
	{
		name: "a soft limit in time to tidy up",
		send: func(*run) *call { return &call{Task: "interop.tidy", Args: []any{30}, Soft: time.Second} },
		want: succeeded("tidied up"), events: ordinary,
	},
	{
		name: "a hard limit",
		send: func(*run) *call { return &call{Task: "interop.sleep", Args: []any{30}, Hard: time.Second} },
		want: failed("TimeLimitExceeded", "1"), events: failure,
	},
	{
		name: "a task without a result", send: func(*run) *call { return one("quiet") },
		after:   unheard(ordinary),
		notFrom: map[kind]string{oldest: "5.2 says of every call that its result is wanted, and newer workers heed that"},
	},
	{
		name:  "a call without a result",
		send:  func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, IgnoreResult: true} },
		after: unheard(ordinary),
		notAt: map[kind]string{oldest: "5.2 knows ignore_result of a task alone"},
	},
	{
		name: "ignore", send: func(*run) *call { return one("ignore") },
		after: ignored,
	},
	{
		name: "reject", send: func(*run) *call { return one("reject") },
		want: failed("Reject", "not mine"), events: "sent received started failed rejected",
		notAt: map[kind]string{oldest: "5.2 stores no result of what is rejected"},
	},
	{
		name: "revoked while it waits",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Countdown: 2 * time.Second} },
		during: func(r *run) {
			r.listen(r.call, "sent")
			r.revoke()
		},
		want: end{State: "REVOKED", Error: "TaskRevokedError", Text: "revoked"}, after: func(r *run) {
			if r.to == golang { // there it is out of the queue at once, and no worker ever has it
				r.heard(r.call, "sent received? revoked?")
				return
			}
			r.heard(r.call, "sent received? revoked")
		},
	},
	{
		name: "revoked while it runs", send: gated("gated"),
		during: func(r *run) {
			r.listen(r.call, "started")
			r.revoke()
		},
		want: end{State: "REVOKED", Error: "TaskRevokedError"}, events: "sent received started revoked",
	},
	{
		name: "expired",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Expires: -time.Second} },
		want: end{State: "REVOKED", Error: "TaskRevokedError", Text: "expired"}, events: "sent received? revoked",
	},
	{
		name: "forgotten", send: func(*run) *call { return one("add", 1, 2) },
		want: succeeded(3), events: ordinary,
		after: func(r *run) {
			if err := r.from.forget(r.ctx, r.call.ID); err != nil {
				r.Fatal(err)
			}
			if raw, _ := r.record(r.call); raw != nil {
				r.Errorf("the record %s is there, want none", raw)
			}
		},
	},
}

func (r *run) revoke() {
	r.Helper()
	if err := r.from.revoke(r.ctx, r.call.ID); err != nil {
		r.Fatal(fmt.Errorf("revoke: %w", err))
	}
}

func TestOutcomes(t *testing.T) { check(t, outcomes) }
