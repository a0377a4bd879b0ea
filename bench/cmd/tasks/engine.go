package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

// batch is how many messages are sent at once to fill a queue.
const batch = 500

// engineSide is an engine without the portable layer above it: the difference
// to rhubarb's side is what that layer costs.
type engineSide struct {
	engine  engine.Broker
	results bool
	text    string
	pids    []int
	stop    func() error
}

// openMemory is the engine that keeps nothing on disk: what the seam allows on
// this machine when storing costs nothing.
func openMemory(o options) side {
	e := memengine.New()
	return &engineSide{engine: e, results: o.Results, text: "in memory: nothing reaches the disk", stop: e.Close}
}

func (s *engineSide) send(ctx context.Context, j job) error { return s.publish(ctx, []job{j}) }

func (s *engineSide) fill(ctx context.Context, jobs []job) error {
	for some := range slices.Chunk(jobs, batch) {
		if err := s.publish(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (s *engineSide) publish(ctx context.Context, jobs []job) error {
	pubs := make([]engine.Publication, len(jobs))
	for i, j := range jobs {
		body, err := json.Marshal(j)
		if err != nil {
			return err
		}
		pubs[i] = engine.Publication{Queue: "bench", Message: engine.Message{
			ID: uuid.NewString(), Task: "bench.job", ContentType: "application/json", ContentEncoding: "utf-8", Body: body,
		}}
		pubs[i].Properties = fmt.Appendf(nil, `{"correlation_id":%q}`, pubs[i].ID)
		if j.Due > 0 {
			pubs[i].At = j.due()
		}
	}
	for _, r := range s.engine.Publish(ctx, pubs) {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// work takes and settles in batches; two settlements may be under way.
func (s *engineSide) work(ctx context.Context, concurrency int, handle func(job)) error {
	if concurrency == 0 {
		concurrency = 100
	}
	r, err := s.engine.Receive(ctx, engine.ReceiveOptions{Queues: []string{"bench"}, Owner: "bench"})
	if err != nil {
		return err
	}
	defer r.Close()
	var g errgroup.Group
	g.SetLimit(2)
	for {
		ds, err := r.Take(ctx, concurrency)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return s.settle(context.WithoutCancel(ctx), r, ds, handle) })
	}
}

func (s *engineSide) settle(ctx context.Context, r engine.Receiver, ds []*engine.Delivery, handle func(job)) error {
	ss := make([]engine.Settlement, len(ds))
	for i, d := range ds {
		var j job
		if err := json.Unmarshal(d.Body, &j); err != nil {
			return err
		}
		handle(j)
		ss[i] = engine.Settlement{Delivery: d}
		if s.results {
			ss[i].State = &engine.State{ID: d.ID, Status: engine.Success, Record: fmt.Appendf(nil, `{"status":"SUCCESS","result":null,"task_id":%q}`, d.ID)}
		}
	}
	return errors.Join(r.Settle(ctx, ss)...)
}

func (s *engineSide) waiting(ctx context.Context) (int, error) { return waiting(ctx, s.engine) }

func (s *engineSide) servers() []int { return s.pids }

func (s *engineSide) policy() string { return s.text }

func (s *engineSide) close() error { return s.stop() }

// waiting counts what is ready and held in all queues, and refuses a run in
// which a message was shelved.
func waiting(ctx context.Context, b engine.Broker) (int, error) {
	queues, err := b.Queues(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, q := range queues {
		n += q.Ready + q.Held
	}
	if n > 0 {
		return n, nil
	}
	for _, shelf := range []engine.Shelf{engine.Dead, engine.Parked} {
		bad, err := b.Shelved(ctx, shelf, "", 1)
		if err != nil {
			return 0, err
		}
		if len(bad) > 0 {
			return 0, errors.New("rhubarb shelved a message: " + bad[0].Reason)
		}
	}
	return 0, nil
}
