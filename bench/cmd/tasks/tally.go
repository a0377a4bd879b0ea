package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// tally counts jobs as they start and knows one that starts twice.
type tally struct {
	seen  []atomic.Bool
	count atomic.Int64
	twice atomic.Int64
}

func newTally(n int) *tally { return &tally{seen: make([]atomic.Bool, n)} }

func (t *tally) add(n int) {
	if t.seen[n].Swap(true) {
		t.twice.Add(1)
		return
	}
	t.count.Add(1)
}

// reach waits until n different jobs have started.
func (t *tally) reach(ctx context.Context, n int) error {
	for t.count.Load() < int64(n) {
		if err := sleepUntil(ctx, time.Now().Add(time.Millisecond)); err != nil {
			return fmt.Errorf("%d of %d jobs started: %w", t.count.Load(), n, err)
		}
	}
	return nil
}

// settled waits until all jobs have started and the side holds none of them.
func (t *tally) settled(ctx context.Context, s side) error {
	if err := t.reach(ctx, len(t.seen)); err != nil {
		return err
	}
	for {
		n, err := s.waiting(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := sleepUntil(ctx, time.Now().Add(2*time.Millisecond)); err != nil {
			return fmt.Errorf("%d jobs are not settled: %w", n, err)
		}
	}
	if n := t.twice.Load(); n > 0 {
		return fmt.Errorf("%d jobs ran twice", n)
	}
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
