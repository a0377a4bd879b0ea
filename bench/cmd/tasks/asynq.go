package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"
)

const asynqTask = "bench:job"

// fillers is how many goroutines fill asynq's queue, which has no batches.
const fillers = 64

type asynqSide struct {
	redis     *redisServer
	client    *asynq.Client
	inspector *asynq.Inspector
	results   bool
}

func openAsynq(ctx context.Context, o options) (side, error) {
	r, err := startRedis(ctx, o.Dir, o.Redis)
	if err != nil {
		return nil, err
	}
	opt := asynq.RedisClientOpt{Addr: r.addr}
	return &asynqSide{
		redis:     r,
		client:    asynq.NewClient(opt),
		inspector: asynq.NewInspector(opt),
		results:   o.Results,
	}, nil
}

func (s *asynqSide) send(ctx context.Context, j job) error {
	body, err := json.Marshal(j)
	if err != nil {
		return err
	}
	var opts []asynq.Option
	if j.Due > 0 {
		opts = append(opts, asynq.ProcessAt(j.due()))
	}
	if s.results {
		opts = append(opts, asynq.Retention(24*time.Hour))
	}
	_, err = s.client.EnqueueContext(ctx, asynq.NewTask(asynqTask, body), opts...)
	return err
}

func (s *asynqSide) fill(ctx context.Context, jobs []job) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range fillers {
		g.Go(func() error {
			for k := i; k < len(jobs); k += fillers {
				if err := s.send(ctx, jobs[k]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *asynqSide) work(ctx context.Context, concurrency int, handle func(job)) error {
	srv := asynq.NewServer(asynq.RedisClientOpt{Addr: s.redis.addr}, asynq.Config{
		Concurrency: concurrency,
		LogLevel:    asynq.ErrorLevel,
	})
	err := srv.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		var j job
		if err := json.Unmarshal(t.Payload(), &j); err != nil {
			return err
		}
		handle(j)
		if s.results {
			_, err := t.ResultWriter().Write([]byte("null"))
			return err
		}
		return nil
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	srv.Shutdown()
	return nil
}

func (s *asynqSide) waiting(context.Context) (int, error) {
	q, err := s.inspector.GetQueueInfo("default")
	if err != nil {
		return 0, err
	}
	if q.Retry+q.Archived > 0 {
		return 0, errors.New("asynq failed some tasks")
	}
	return q.Pending + q.Active, nil
}

func (s *asynqSide) servers() []int { return []int{s.redis.pid()} }

func (s *asynqSide) policy() string { return s.redis.policy }

func (s *asynqSide) close() error {
	return errors.Join(s.client.Close(), s.inspector.Close(), s.redis.stop())
}
