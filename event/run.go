package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

const (
	// linger is how long a sender that has just sent events of tasks waits for
	// more, so that they travel together. The first after a rest goes at once.
	linger = 5 * time.Millisecond

	// patience is how long the engine may take over one message.
	patience = 5 * time.Second

	// burst is how many messages go out between two looks at the clock.
	burst = 32

	// farewell is how long a sender that stops may take to send what waits and
	// worker-offline.
	farewell = 2 * time.Second
)

// Run says that the worker is online, sends what [Sender.Send] was given and a
// heartbeat now and then, until ctx ends. Then it sends what waits, says that
// the worker is offline, within two seconds, and returns nil. Events that the
// engine does not take are dropped and counted. A Sender runs once, and needs
// a host name.
func (s *Sender) Run(ctx context.Context) error {
	if s.client {
		return errors.New("event: run sender: it is a client's, a worker's needs a Hostname")
	}
	if s.running.Swap(true) {
		return fmt.Errorf("event: run sender of %s: it runs or ran already", s.opts.Hostname)
	}
	work, kill := context.WithCancel(context.WithoutCancel(ctx)) // what waits outlives ctx a little
	defer kill()
	release := context.AfterFunc(ctx, func() { time.AfterFunc(farewell, kill) })
	defer release()

	beat := time.NewTicker(s.opts.Heartbeat)
	defer beat.Stop()
	s.report("worker-online")
	for ctx.Err() == nil {
		if s.flush(work) {
			s.rest(ctx)
		}
		select {
		case <-s.ready:
		case <-beat.C:
			s.report("worker-heartbeat")
		case <-ctx.Done():
		}
	}
	s.report("worker-offline")
	s.queue.close()
	for s.waiting() {
		s.flush(work)
	}
	return nil
}

// report sends one of the events that say how the worker is.
func (s *Sender) report(kind string) {
	s.Send(alive(kind, s.opts.Heartbeat.Seconds(), s.opts.Report(), load(), s.software))
}

// flush sends some of what waits, so that a heartbeat can come between. It
// reports whether that was all and had events of tasks in it: then there is
// time for more to gather.
func (s *Sender) flush(ctx context.Context) (rest bool) {
	for range burst {
		p, ok := s.queue.pop()
		if !ok {
			return rest
		}
		rest = rest || p.batch()
		s.post(ctx, p)
	}
	signal(s.ready) // to go on
	return false
}

func (s *Sender) waiting() bool { return s.queue.length() > 0 }

// rest lets events gather.
func (s *Sender) rest(ctx context.Context) {
	t := time.NewTimer(linger)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.full:
	case <-ctx.Done():
	}
}

// post sends one message and tells of changes in the engine's presence.
func (s *Sender) post(ctx context.Context, p parcel) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.broadcast(ctx, p)
	log := s.opts.Logger
	switch {
	case errors.Is(err, engine.ErrLimit):
		log.Warn("an event cannot be sent", "key", p.key, "err", err)
	case err != nil && !s.away:
		log.Warn("events are dropped: the engine does not take them", "err", err)
		s.away = true
	case err == nil && s.away:
		log.Info("events are sent again", "dropped", s.counts.away.Load())
		s.away = false
	}
}
