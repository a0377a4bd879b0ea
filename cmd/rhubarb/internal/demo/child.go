package demo

import (
	"bufio"
	"context"
	"io"
	"os"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/worker"
)

// Limits of one worker process. The photos take turns at few places, so that
// a thousand of them can be seen going down.
const (
	concurrency = 8
	childGrace  = 2 * time.Second
)

// work runs the tasks in this process until the demo says stop, and exits at
// once when the demo is gone: another demo may have the data by then.
func work(ctx context.Context, env *cli.Env, name string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // lives as long as the process
		if said(env.Stdin, "stop") {
			stop()
			return
		}
		os.Exit(int(cli.Interrupted))
	}()
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	w, err := worker.New(app, tasks, &worker.Options{
		Queues: []string{queue, bulkQueue}, Concurrency: concurrency, Grace: childGrace, Name: name,
		Run: []func(rhubarb.Handler) rhubarb.Handler{introduce(name)}, Logger: env.Log,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// said reads lines until there is the given one, or none any more.
func said(r io.Reader, word string) bool {
	for s := bufio.NewScanner(r); s.Scan(); {
		if s.Text() == word {
			return true
		}
	}
	return false
}

// introduce writes into a task's stream which process runs it, in the words of
// Celery's state STARTED, so that the page can have that very process killed.
func introduce(name string) func(rhubarb.Handler) rhubarb.Handler {
	quiet := []string{resizePhoto.Name()}
	return func(next rhubarb.Handler) rhubarb.Handler {
		return func(ctx context.Context, inv *rhubarb.Invocation) (any, error) {
			if !slices.Contains(quiet, inv.Task) {
				meta := map[string]any{"hostname": name, "pid": os.Getpid()}
				if err := rhubarb.UpdateState(ctx, "STARTED", meta); err != nil {
					return nil, err
				}
			}
			return next(ctx, inv)
		}
	}
}
