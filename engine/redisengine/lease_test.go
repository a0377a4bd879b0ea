package redisengine_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// A worker that has lost sight of Redis gives up what it runs and takes again
// when Redis is back: what it gave up must come back too.
func TestWhatAnOwnerHasGivenUpComesBackThoughItTakesOn(t *testing.T) {
	t.Parallel()
	e := startRedis(t).engine(t)
	r := receive(t, e, "q")
	publishTask(t, e, "q", "given-up")
	first := take(t, r, patient)
	var kept *engine.Delivery
	for i, deadline := 0, time.Now().Add(30*time.Second); time.Now().Before(deadline); i++ {
		publishTask(t, e, "q", fmt.Sprint("other-", i))
		d := take(t, r, patient)
		if d.ID == first.ID {
			if d.Fence <= first.Fence {
				t.Errorf("it came back with fence %d, was %d", d.Fence, first.Fence)
			}
			return
		}
		if kept == nil {
			kept = d
		} else {
			done(t, r, d)
		}
		for _, err := range r.Extend(t.Context(), []*engine.Delivery{kept}) {
			if err != nil {
				t.Errorf("extend what is held: %v", err)
			}
		}
		lull(t, 250*time.Millisecond)
	}
	t.Error("after 30s of an owner that took others and never extended this one it did not come back")
}

// TestAStallOfRedisEndsNoLease stops the server for longer than what is left of
// the leases: workers could not renew them, and are alive.
func TestAStallOfRedisEndsNoLease(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	mine, other := s.engine(t), s.engine(t)
	r := receive(t, mine, "q")
	receive(t, other, "q") // its keeper looks for dead owners
	publishTask(t, mine, "q", "a")
	d := take(t, r, patient)
	lull(t, 2*time.Second)
	pause(t, s, 6500*time.Millisecond)
	lull(t, 1500*time.Millisecond) // the beat of a worker comes
	if err := r.Extend(t.Context(), []*engine.Delivery{d})[0]; err != nil {
		t.Errorf("extend 1.5s after a stall of 6.5s: %v, want the claim to stand", err)
	}
	if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d}})[0]; err != nil {
		t.Errorf("settle after a stall: %v", err)
	}
}

// pause has the server do nothing for a time, with all its connections open.
func pause(t testing.TB, s *redisServer, d time.Duration) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	lull(t, d)
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
