package worker

import (
	"context"
	"errors"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// beat renews the lease of everything held, until the session is over.
func (s *session) beat() {
	tick := time.NewTicker(engine.DefaultBeat)
	defer tick.Stop()
	last := time.Now() // monotonic
	for n := 0; ; n++ {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		runs := s.all()
		if len(runs) == 0 { // there is nothing to lose, and less to say
			if last = began; n%2 == 0 && s.ping() {
				s.beaten.Store(began.UnixNano())
			}
			continue
		}
		answered := true
		for in, some := range byIntake(runs) {
			answered = s.extend(in.recv, some) && answered
		}
		if answered {
			last = began
			s.beaten.Store(began.UnixNano())
		} else if time.Since(last) > engine.DefaultLease {
			s.lose()
		}
	}
}

// extend reports whether the engine answered.
func (s *session) extend(recv engine.Receiver, runs []*run) bool {
	ctx, cancel := context.WithTimeout(s.life, engine.DefaultLease/2)
	defer cancel()
	ds := make([]*engine.Delivery, len(runs))
	for i, r := range runs {
		ds[i] = r.d
	}
	answered := false
	var fault error
	for i, err := range recv.Extend(ctx, ds) {
		switch {
		case err == nil:
			answered = true
		case errors.Is(err, engine.ErrRevoked):
			answered = true
			runs[i].stop(rhubarb.ErrRevoked)
		case errors.Is(err, engine.ErrSuperseded):
			answered = true
			runs[i].supersede()
		default:
			fault = err
		}
	}
	if fault != nil && s.life.Err() == nil {
		s.log.Warn("renew lease", "held", len(ds), "err", fault)
	}
	return answered
}

func (s *session) ping() bool {
	ctx, cancel := context.WithTimeout(s.life, engine.DefaultLease/2)
	defer cancel()
	p, ok := s.app.Engines().Broker.(engine.Pinger)
	return !ok || p.Ping(ctx) == nil
}

// lose gives up everything held: another process may have it by now.
func (s *session) lose() {
	runs := s.all()
	if len(runs) == 0 {
		return
	}
	s.log.Error("lease lost: the engine did not answer in time; running tasks are given up", "held", len(runs))
	for _, r := range runs {
		r.supersede()
	}
}

// watchRevoked stops running tasks that someone revoked.
func (s *session) watchRevoked(recv engine.Receiver) {
	for {
		select {
		case <-s.life.Done():
			return
		case id, ok := <-recv.Revoked():
			if !ok {
				return
			}
			for _, r := range s.all() {
				if r.d.ID == id {
					r.stop(rhubarb.ErrRevoked)
				}
			}
		}
	}
}
