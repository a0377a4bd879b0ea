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
		n := s.slots.acquire(ctx, maxTake)
		if n == 0 {
			return ctx.Err()
		}
		in, waiting := s.enter()
		ds, err := in.take(waiting, n)
		s.slots.release(n - len(ds))
		for _, d := range ds {
			s.accept(ctx, in, d)
		}
		s.leave(in)
		if err != nil && waiting.Err() == nil {
			s.retake() // the other taker sees that ctx has ended
			return err
		}
	}
}

// accept starts what was taken, or gives it back if the worker is stopping.
func (s *session) accept(ctx context.Context, in *intake, d *engine.Delivery) {
	r := &run{s: s, d: d, from: in}
	r.slot.Store(true)
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
