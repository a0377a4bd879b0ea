package cli_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/rhubarb-go/rhubarb/worker"
)

func TestInspectAndControl(t *testing.T) {
	s := open(t)
	s.want(69, "", "app: no nodes replied within the time\n", "inspect", "ping", "-t", "0.05")
	node := "w1@here"
	s.until("worker", serving(s, node))
	for {
		if exit, _, _ := s.run("inspect", "ping", "-d", node, "-t", "0.1"); exit == 0 {
			break
		}
	}
	s.want(0, "->  w1@here: OK\n        pong\n", "\n1 node online.\n", "inspect", "ping", "-d", node, "-t", "60")
	s.want(0, `{"w1@here":{"ok":"pong"}}`+"\n", "", "inspect", "ping", "-d", node, "-t", "60", "--json")
	s.want(0, "->  w1@here: ERROR\n        unknown task\n", "", "control", "rate_limit", "nope", "1/m", "-d", node, "-t", "60")
	s.want(0, `[{"w1@here":{"ok":"pool will grow"}}]`+"\n", "", "control", "pool_grow", "2", "-d", node, "-t", "60", "--json")
}

// serving is a worker of that name.
func serving(s *shell, node string) func(context.Context) error {
	return func(ctx context.Context) error {
		w, err := worker.New(s.app, tasks, &worker.Options{Name: node, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return w.Run(ctx)
	}
}
