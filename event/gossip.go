package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// relisten is how long Gossip waits to listen again when the engine was away.
const relisten = time.Second

// Gossip does what Celery's workers do for each other, until ctx ends; a
// worker runs it beside Run. It acknowledges every election, since one that
// Python workers hold ends only when all who are alive have done so, and keeps
// the clock up with theirs. It never stands for election itself: all that one
// wins is to send a task, and one of those that stand will. It returns
// [engine.ErrClosed], wrapped, when the engine is closed.
// celery/worker/consumer/gossip.py.
func (s *Sender) Gossip(ctx context.Context) error {
	for {
		err := s.gossip(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, engine.ErrClosed):
			return fmt.Errorf("event: gossip of %s: %w", s.opts.Hostname, err)
		}
		s.opts.Logger.Warn("other workers are not heard", "err", err)
		select {
		case <-time.After(relisten):
		case <-ctx.Done():
		}
	}
}

func (s *Sender) gossip(ctx context.Context) error {
	events, err := Receive(ctx, s.broker, &ReceiveOptions{Key: "worker.#", Clock: s.opts.Clock})
	if err != nil {
		return err
	}
	for e, err := range events {
		if err != nil {
			s.opts.Logger.Debug("an event of another worker is not read", "err", err)
			continue
		}
		if e.Type != "worker-elect" {
			continue
		}
		if id := e.Text("id"); id != "" && len(id) <= maxName {
			s.Send(WorkerElectAck(id))
		}
	}
	return engine.ErrClosed // what else ends it than ctx
}
