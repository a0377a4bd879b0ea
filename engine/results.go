package engine

import (
	"context"
	"iter"
	"time"
)

// State names, Celery's own. celery/states.py.
const (
	Pending  = "PENDING"
	Received = "RECEIVED"
	Started  = "STARTED"
	Progress = "PROGRESS" // not a state of Celery's, but what its users call it
	Success  = "SUCCESS"
	Failure  = "FAILURE"
	Retry    = "RETRY"
	Revoked  = "REVOKED"
	Rejected = "REJECTED"
	Ignored  = "IGNORED"
)

// Ready reports whether a status is final. REJECTED and IGNORED are final too:
// Celery writes no record for them, we do, so that nobody waits in vain.
func Ready(status string) bool {
	switch status {
	case Success, Failure, Revoked, Rejected, Ignored:
		return true
	}
	return false
}

// State is what is known of a task.
type State struct {
	ID     string
	Status string

	// Record is Celery's result JSON as internal/celery writes it. Engines
	// keep it untouched. It may be empty for a task nothing was kept for.
	Record []byte

	// TTL is how long the record is kept after it was written. Zero means
	// 24 hours, negative means forever.
	TTL time.Duration

	// Attempt is the run that wrote the state, from 1; 0 if none did.
	// Set by the engine when read.
	Attempt int

	// Time is when it was written. Set by the engine when read.
	Time time.Time
}

// DefaultTTL is how long states and finished streams are kept.
const DefaultTTL = 24 * time.Hour

// Results keeps the states of tasks. All methods may be called at once.
type Results interface {
	// Put keeps states that are not final, written by the run that holds the
	// fence, and shows them to watchers and in the task's stream (a record of
	// kind [KindState] or, for status PROGRESS, [KindProgress]). One error per
	// state: [ErrSuperseded] if the fence is not the latest claim or the task
	// is finished. Final states are written by [Receiver.Settle], or by
	// Finish where the broker is another engine.
	Put(ctx context.Context, puts []StatePut) []error

	// Finish keeps a final state for a task that another engine brokered.
	// fence is 0 where there is none; an already final state stays and gives
	// ErrSuperseded.
	Finish(ctx context.Context, puts []StatePut) []error

	// Get returns the states of ids, in order. An unknown id is PENDING with
	// no record, as in Celery.
	Get(ctx context.Context, ids []string) ([]State, error)

	// Watch yields the present state and then every later one, and ends after
	// a final state or with ctx, whose error it then yields. States in quick
	// succession may be merged; the final one never is.
	Watch(ctx context.Context, id string) iter.Seq2[State, error]

	// Forget removes the states and streams of ids.
	Forget(ctx context.Context, ids []string) error
}

// StatePut is one state and the claim under which it is written.
type StatePut struct {
	State State
	Fence Fence
}
