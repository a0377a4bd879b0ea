package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rhubarb-go/rhubarb/engine"
)

// intake is a receiver and the queues it takes from. When the queues change,
// another takes its place, and this one stays until what it brought is settled.
type intake struct {
	recv   engine.Receiver // nil when there is no queue
	queues []string

	// The session's mutex guards these.
	users int                // takes under way and deliveries held
	ctx   context.Context    // of the takes under way
	stop  context.CancelFunc // has them come back at once
}

// maxIntakes bounds the receivers of one session.
const maxIntakes = 64

// receive opens a receiver for the queues.
func (w *Worker) receive(ctx context.Context, queues []string) (engine.Receiver, error) {
	if len(queues) == 0 {
		return nil, nil
	}
	return w.app.Engines().Broker.Receive(ctx, engine.ReceiveOptions{
		Queues: queues, Owner: w.opts.Name, MaxDeliveries: w.opts.MaxDeliveries, Shelve: w.shelve,
	})
}

// enter returns what to take from, and the context to do it with. leave must
// follow.
func (s *session) enter() (*intake, context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.users++
	return s.in, s.in.ctx
}

func (s *session) leave(in *intake) {
	s.mu.Lock()
	in.users--
	idle := in != s.in && in.users == 0
	if idle {
		delete(s.intakes, in)
	}
	s.mu.Unlock()
	if idle {
		s.closeIntake(in)
	}
}

func (s *session) closeIntake(in *intake) {
	in.stop()
	if in.recv == nil {
		return
	}
	if err := in.recv.Close(); err != nil && !errors.Is(err, engine.ErrClosed) {
		s.log.Warn("close receiver", "err", err)
	}
}

// take waits for messages of the intake.
func (in *intake) take(ctx context.Context, n int) ([]*engine.Delivery, error) {
	if in.recv == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return in.recv.Take(ctx, n)
}

// retake has takes that wait give their slots back and begin anew.
func (s *session) retake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.stop()
	s.in.ctx, s.in.stop = context.WithCancel(s.taking)
}

// replace takes from other queues from now on. Only remote control calls it,
// once at a time.
func (s *session) replace(ctx context.Context, queues []string) error {
	s.mu.Lock()
	n := len(s.intakes)
	s.mu.Unlock()
	if n >= maxIntakes {
		return fmt.Errorf("worker: take from %v: tasks of %d earlier changes still run", queues, n)
	}
	recv, err := s.receive(ctx, queues)
	if err != nil {
		return fmt.Errorf("worker: take from %v: %w", queues, err)
	}
	in := &intake{recv: recv, queues: queues}
	s.mu.Lock()
	in.ctx, in.stop = context.WithCancel(s.taking)
	old := s.in
	s.in, s.intakes[in] = in, struct{}{}
	old.users++ // until leave
	old.stop()
	s.mu.Unlock()
	if recv != nil {
		s.loops.Go(func() { s.watchRevoked(recv) }) // ends with the receiver
	}
	s.leave(old)
	return nil
}

// queues returns those taken from now.
func (s *session) queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.in.queues)
}

// byIntake sorts runs by where they came from.
func byIntake(runs []*run) map[*intake][]*run {
	m := make(map[*intake][]*run, 1)
	for _, r := range runs {
		m[r.from] = append(m[r.from], r)
	}
	return m
}
