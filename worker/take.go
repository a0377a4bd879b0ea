package worker

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb/engine"
)

// maxTake bounds one batch, so that the first of it does not wait for the
// claims of too many others.
const maxTake = 256

// takers is how many batches may be on their way at once: one is asked for
// while another is claimed.
const takers = 2

// takeAll brings messages in until ctx ends or the engine fails for good.
func (s *session) takeAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range takers {
		g.Go(func() error { return s.take(ctx) })
	}
	return g.Wait()
}

func (s *session) take(ctx context.Context) error {
	for {
		n := s.acquire(ctx)
		if n == 0 {
			return ctx.Err()
		}
		ds, err := s.recv.Take(ctx, n)
		s.release(n - len(ds))
		for _, d := range ds {
			s.accept(ctx, d)
		}
		if err != nil {
			return err
		}
	}
}

// acquire waits for a free slot and takes what else is free with it. It
// returns 0 when ctx ends.
func (s *session) acquire(ctx context.Context) int {
	select {
	case <-s.slots:
	case <-ctx.Done():
		return 0
	}
	n := 1
	for n < maxTake {
		select {
		case <-s.slots:
			n++
		default:
			return n
		}
	}
	return n
}

func (s *session) release(n int) {
	for range n {
		s.slots <- struct{}{}
	}
}

// accept starts what was taken, or gives it back if the worker is stopping. It
// is the place where a task that must wait for a limit of its own will be held
// up.
func (s *session) accept(ctx context.Context, d *engine.Delivery) {
	r := &run{s: s, d: d}
	s.hold(r)
	if ctx.Err() != nil {
		s.finish(r, r.giveBack())
		return
	}
	select {
	case s.runs <- r:
	default:
		go s.carry(r)
	}
}

// maxIdle bounds the goroutines that are kept for the next task.
const maxIdle = 256

// carry runs a task, and then others: a goroutine that has run one has a stack
// that is large enough. It ends with the session, or when enough wait already.
func (s *session) carry(r *run) {
	for {
		r.start() // ends with finish, which s.open waits for
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case r = <-s.runs:
			s.idle.Add(-1)
		case <-s.life.Done():
			return
		}
	}
}
