package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// rate spaces the starts of one task on this worker: a token bucket of one.
// celery/worker/consumer/consumer.py bucket_for_task.
type rate struct {
	text     string // as it was asked for
	every    time.Duration
	replaced chan struct{} // closed when another rate holds

	mu   sync.Mutex
	next time.Time
}

func newRate(perSecond float64, text string) *rate {
	return &rate{text: text, every: time.Duration(float64(time.Second) / perSecond), replaced: make(chan struct{})}
}

// reserve takes the next start and returns how long it is until then.
func (b *rate) reserve() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.next.Before(now) {
		b.next = now
	}
	wait := b.next.Sub(now)
	b.next = b.next.Add(b.every)
	return wait
}

const (
	// shortWait is one for which a slot is not given up.
	shortWait = 100 * time.Millisecond
	// maxWaiting is how many tasks per slot may wait for their rate without
	// one. Further ones keep theirs, so that the worker takes no more.
	// celery/app/defaults.py worker_prefetch_multiplier.
	maxWaiting = 4
)

// await waits until the task's rate lets it start. The run holds its lease
// meanwhile, and for a longer wait no slot. It returns false when the run must
// not start, with what becomes of it.
func (r *run) await(ctx context.Context) (ending, bool) {
	if r.task.rate.Load() == nil {
		return ending{}, true
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// What has not started when the worker stops goes to another.
	defer context.AfterFunc(r.s.taking, func() { stop(rhubarb.ErrShutdown) })()
	if !r.pace(ctx) || r.over.Load() {
		return r.unstarted(ctx), false
	}
	return ending{}, true
}

// pace waits for the next start, and then for a slot if it gave its own up. It
// returns false when ctx ended first.
func (r *run) pace(ctx context.Context) bool {
	away := false
	defer func() {
		if away {
			r.s.yielded.Add(-1)
		}
	}()
	for b := r.task.rate.Load(); b != nil; b = r.task.rate.Load() {
		wait := b.reserve()
		away = away || r.yield(wait)
		if !b.sleep(ctx, wait) {
			continue
		}
		break
	}
	if ctx.Err() != nil {
		return false
	}
	return !away || r.reclaim(ctx)
}

// sleep returns true when the wait or ctx is over, and false when another rate
// holds.
func (b *rate) sleep(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-b.replaced:
		return false
	}
	return true
}

// yield gives the slot up for a wait that is worth it, if not too many did.
func (r *run) yield(wait time.Duration) bool {
	if wait < shortWait {
		return false
	}
	if r.s.yielded.Add(1) <= int64(maxWaiting*r.s.slots.count()) && r.free() {
		return true
	}
	r.s.yielded.Add(-1)
	return false
}

// reclaim takes a slot ahead of what is not taken yet.
func (r *run) reclaim(ctx context.Context) bool {
	if !r.s.slots.first(ctx, r.s.retake) {
		return false
	}
	r.slot.Store(true)
	if r.over.Load() { // decided meanwhile by one who saw no slot
		r.free()
	}
	return true
}

// free gives the run's slot back, and reports false if it has none.
func (r *run) free() bool {
	if !r.slot.CompareAndSwap(true, false) {
		return false
	}
	r.s.slots.release(1)
	return true
}

// unstarted is the outcome of a run that was stopped before it began.
func (r *run) unstarted(ctx context.Context) ending {
	if errors.Is(context.Cause(ctx), rhubarb.ErrRevoked) {
		return r.revoked("revoked")
	}
	return ending{Settlement: engine.Settlement{Delivery: r.d, Verdict: engine.Return}}
}
