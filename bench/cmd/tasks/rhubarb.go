package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

// embeddedPolicy describes the default of engine/embedded.
const embeddedPolicy = "embedded engine: file store, written before the answer, fsync every second (SyncInterval 1s)"

// rhubarbSide is the whole library on an engine.
type rhubarbSide struct {
	engine engine.Broker
	pids   []int
	text   string
	stop   func() error
	app    *rhubarb.App
	task   *rhubarb.Task[job, rhubarb.None]
	handle atomic.Pointer[func(job)]
}

func openRhubarb(ctx context.Context, o options) (side, error) {
	e, err := embedded.Open(ctx, o.Dir, nil)
	if err != nil {
		return nil, err
	}
	return newRhubarb(engine.All(e), o, &rhubarbSide{text: embeddedPolicy, stop: e.Close})
}

// openOnRedis is the library on a Redis of its own, as Celery would use it.
func openOnRedis(ctx context.Context, o options) (side, error) {
	r, e, err := openRedis(ctx, o)
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(e.Close(), r.stop()) }
	return newRhubarb(e.Set(), o, &rhubarbSide{text: r.policy, pids: []int{r.pid()}, stop: stop})
}

func openRedis(ctx context.Context, o options) (*redisServer, *redisengine.Engine, error) {
	r, err := startRedis(ctx, o.Dir, o.Redis)
	if err != nil {
		return nil, nil, err
	}
	e, err := redisengine.Connect(ctx, "redis://"+r.addr, nil)
	if err != nil {
		return nil, nil, errors.Join(err, r.stop())
	}
	return r, e, nil
}

func newRhubarb(set engine.Set, o options, s *rhubarbSide) (side, error) {
	app, err := rhubarb.New(set, nil)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.app, s.engine = app, set.Broker
	var opts []rhubarb.TaskOption
	if !o.Results {
		opts = append(opts, rhubarb.IgnoreResult())
	}
	s.task = rhubarb.Define("bench.job", s.run, opts...)
	return s, nil
}

func (s *rhubarbSide) run(_ context.Context, j job) (rhubarb.None, error) {
	(*s.handle.Load())(j)
	return rhubarb.None{}, nil
}

func (s *rhubarbSide) send(ctx context.Context, j job) error {
	_, err := s.task.Apply(ctx, s.app, j, callOptions(j)...)
	return err
}

func (s *rhubarbSide) fill(ctx context.Context, jobs []job) error {
	for some := range slices.Chunk(jobs, batch) {
		calls := make([]*rhubarb.Call, len(some))
		for i, j := range some {
			c, err := s.task.Call(j, callOptions(j)...)
			if err != nil {
				return err
			}
			calls[i] = c
		}
		for _, sent := range s.app.Send(ctx, calls...) {
			if sent.Err != nil {
				return sent.Err
			}
		}
	}
	return nil
}

func callOptions(j job) []rhubarb.CallOption {
	if j.Due == 0 {
		return nil
	}
	return []rhubarb.CallOption{rhubarb.ETA(j.due())}
}

func (s *rhubarbSide) work(ctx context.Context, concurrency int, handle func(job)) error {
	s.handle.Store(&handle)
	w, err := worker.New(s.app, []rhubarb.Runnable{s.task}, &worker.Options{Concurrency: concurrency})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

func (s *rhubarbSide) waiting(ctx context.Context) (int, error) { return waiting(ctx, s.engine) }

func (s *rhubarbSide) servers() []int { return s.pids }

func (s *rhubarbSide) policy() string { return s.text }

func (s *rhubarbSide) close() error { return s.stop() }
