package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/control"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
)

// session is one call of Run.
type session struct {
	*Worker
	events *event.Sender
	server *control.Server // nil without remote control

	// work is the parent of every handler's context. It does not end with
	// Run's context but with kill, after the grace.
	work context.Context
	kill context.CancelCauseFunc

	// life ends when the session is over: it bounds all talk to the engine.
	life context.Context
	end  context.CancelFunc

	// taking ends when nothing more is to be taken: it is Run's context.
	taking context.Context

	slots   *slots
	yielded atomic.Int64     // runs that wait without a slot
	runs    chan *run        // to a goroutine that has nothing to do
	idle    atomic.Int32     // how many of those there are
	settles chan *settlement // what is over and waits to be handed in
	open    sync.WaitGroup   // deliveries that are not settled yet
	loops   sync.WaitGroup   // this session's own goroutines

	mu      sync.Mutex
	held    map[*engine.Delivery]*run
	in      *intake              // what is taken from now
	intakes map[*intake]struct{} // that one, and those before whose runs go on
}

const (
	// lastTries is how long after the grace the engine is still asked to take
	// back or keep what is not settled.
	lastTries = 5 * time.Second
	// settlers hand in settlements at once, so that one batch is gathered
	// while another is under way.
	settlers = 2
)

func newSession(ctx context.Context, w *Worker, recv engine.Receiver, events *event.Sender) *session {
	s := &session{
		Worker: w, taking: ctx, events: events,
		slots:   newSlots(w.opts.Concurrency),
		runs:    make(chan *run),
		settles: make(chan *settlement, w.opts.Concurrency),
		held:    map[*engine.Delivery]*run{},
	}
	base := context.WithoutCancel(ctx) // a soft stop must not cancel handlers
	s.work, s.kill = context.WithCancelCause(base)
	s.life, s.end = context.WithCancel(base)
	s.in = &intake{recv: recv, queues: w.opts.Queues}
	s.in.ctx, s.in.stop = context.WithCancel(ctx)
	s.intakes = map[*intake]struct{}{s.in: {}}
	return s
}

func (s *session) start(ctx context.Context) {
	for range settlers {
		s.loops.Go(s.settleLoop)
	}
	s.loops.Go(s.beat)
	s.loops.Go(func() {
		if err := s.events.Run(s.life); err != nil {
			s.log.Warn("send events", "err", err)
		}
	})
	s.loops.Go(func() {
		if err := s.events.Gossip(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("answer elections", "err", err)
		}
	})
	recv := s.in.recv
	s.loops.Go(func() { s.watchRevoked(recv) })
	s.loops.Go(func() { s.watchParked(ctx) })
	if s.server != nil {
		s.loops.Go(func() { s.control(ctx) })
	}
}

// stop lets running tasks go on for the grace and then gives them back.
func (s *session) stop() {
	done := make(chan struct{})
	go func() { s.open.Wait(); close(done) }() // ends: every delivery is settled or abandoned below
	if s.opts.Grace > 0 {
		t := time.NewTimer(s.opts.Grace)
		defer t.Stop()
		select {
		case <-done:
			return
		case <-t.C:
		}
	} else {
		<-done
		return
	}
	s.kill(rhubarb.ErrShutdown)
	t := time.NewTimer(handlerGrace)
	defer t.Stop()
	select {
	case <-done:
		return
	case <-t.C:
	}
	s.abandonAll()
	last := time.AfterFunc(lastTries, s.end)
	defer last.Stop()
	<-done
}

// handlerGrace is how long a handler whose context was cancelled may take to
// return before its goroutine is abandoned.
const handlerGrace = 2 * time.Second

// abandonAll gives back what does not heed its context.
func (s *session) abandonAll() {
	for _, r := range s.all() {
		s.log.Warn("task ignores its cancelled context: goroutine abandoned", "task", r.task.Name, "id", r.d.ID)
		s.finish(r, r.giveBack())
	}
}

func (s *session) close() {
	s.kill(rhubarb.ErrShutdown)
	s.end()
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.intakes))
	s.mu.Unlock()
	for _, in := range open {
		s.closeIntake(in)
	}
	s.loops.Wait()
}

func (s *session) all() []*run {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*run, 0, len(s.held))
	for _, r := range s.held {
		out = append(out, r)
	}
	return out
}

// hold notes a delivery as ours from now on.
func (s *session) hold(r *run) {
	s.open.Add(1)
	s.active.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[r.d] = r
	r.from.users++
}

// drop forgets a delivery that is settled or lost. It may be called twice.
func (s *session) drop(d *engine.Delivery) {
	s.mu.Lock()
	r, ok := s.held[d]
	delete(s.held, d)
	s.mu.Unlock()
	if ok {
		s.leave(r.from)
		s.active.Add(-1)
		s.open.Done()
	}
}
