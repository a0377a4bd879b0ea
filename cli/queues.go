package cli

import (
	"context"
	"fmt"

	"github.com/rhubarb-go/rhubarb/engine"
)

type queuesCmd struct{}

// queueDocument is a queue as --json shows it.
type queueDocument struct {
	Name    string  `json:"name"`
	Ready   int     `json:"ready"`
	Delayed int     `json:"delayed"`
	Held    int     `json:"held"`
	Oldest  float64 `json:"oldest_seconds"`
}

// Run shows the queues.
func (c *queuesCmd) Run(ctx context.Context, env *Env) error {
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	infos, err := app.Engines().Broker.Queues(ctx)
	if err != nil {
		return engineError(fmt.Errorf("list queues: %w", err))
	}
	if env.JSON {
		for _, q := range infos {
			if err := env.print(queueDocument{q.Name, q.Ready, q.Delayed, q.Held, q.Oldest.Seconds()}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(infos) == 0 {
		env.note("there are no queues yet")
		return nil
	}
	t := env.table("QUEUE", "READY", "DELAYED", "HELD", "OLDEST")
	for _, q := range infos {
		oldest := "-"
		if q.Oldest > 0 {
			oldest = human(q.Oldest)
		}
		t.row(q.Name, q.Ready, q.Delayed, q.Held, oldest)
	}
	return t.flush()
}

type purgeCmd struct {
	Queue string `arg:"" help:"The queue's name."`
	Yes   bool   `name:"yes" short:"y" help:"Do not ask."`
}

// Run purges the queue.
func (c *purgeCmd) Run(ctx context.Context, env *Env) error {
	if len(c.Queue) > engine.MaxQueue {
		return badInput("the queue name has %d bytes, at most %d are allowed", len(c.Queue), engine.MaxQueue)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := env.confirm(fmt.Sprintf("Drop every message that waits in queue %s?", c.Queue)); err != nil {
			return err
		}
	}
	n, err := app.Engines().Broker.Purge(ctx, c.Queue)
	if err != nil {
		return engineError(fmt.Errorf("purge %s: %w", c.Queue, err))
	}
	if env.JSON {
		return env.print(map[string]any{"queue": c.Queue, "dropped": n})
	}
	env.note("dropped %s from %s", count(n, "message"), c.Queue)
	return nil
}
