// Peer is a worker with the tasks of ../project/tasks.py, for the tests beside
// it. Its first argument is the engine's URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine/dial"
	"github.com/rhubarb-go/rhubarb/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var opts worker.Options
	url := flag.String("url", "", "the engine")
	queue := flag.String("queue", "celery", "where to take from")
	flag.StringVar(&opts.Name, "node", "", "the worker's name")
	flag.IntVar(&opts.Concurrency, "concurrency", 0, "how many tasks may run at once")
	flag.BoolVar(&opts.ExtendedResults, "extended", false, "store extended results")
	flag.Parse()
	set, closeAll, err := dial.Dial(ctx, *url, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closed := closeAll(); err == nil {
			err = closed
		}
	}()
	app, err := rhubarb.New(set, &rhubarb.Options{SentEvents: true})
	if err != nil {
		return err
	}
	opts.Queues, opts.Events = []string{*queue}, true
	w, err := worker.New(app, tasks, &opts)
	if err != nil {
		return err
	}
	slog.Info("worker started", "name", w.Name())
	return w.Run(ctx)
}
