package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine/dial"
	"github.com/rhubarb-go/rhubarb/worker"
)

var greet = rhubarb.Define("greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil })

// A worker of a program that has its own main function. SIGTERM stops it
// softly; see the package's documentation.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	engines, closeEngines, err := dial.Dial(ctx, "", nil) // "": embedded, in ./rhubarb-data
	if err != nil {
		slog.Error("open the engine", "err", err)
		return
	}
	defer closeEngines()
	app, err := rhubarb.New(engines, nil)
	if err != nil {
		slog.Error("make the app", "err", err)
		return
	}
	w, err := worker.New(app, []rhubarb.Runnable{greet}, &worker.Options{Concurrency: 500})
	if err != nil {
		slog.Error("make the worker", "err", err)
		return
	}
	if err := w.Run(ctx); err != nil {
		slog.Error("work", "err", err)
	}
}

// Run middleware has the shape of net/http's.
func ExampleOptions_run() {
	engines, closeEngines, err := dial.Dial(context.Background(), "mem:", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeEngines()
	app, err := rhubarb.New(engines, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	trace := func(next rhubarb.Handler) rhubarb.Handler {
		return func(ctx context.Context, inv *rhubarb.Invocation) (any, error) {
			out, err := next(ctx, inv)
			fmt.Println(inv.Task, "attempt", inv.Attempt, "returned", out, err)
			return out, err
		}
	}
	w, err := worker.New(app, []rhubarb.Runnable{greet}, &worker.Options{
		Run: []func(rhubarb.Handler) rhubarb.Handler{trace}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	res, err := greet.Delay(ctx, app, "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Get(ctx))
	stop()
	fmt.Println(<-done)
	// Output:
	// greet attempt 1 returned hello Ada <nil>
	// hello Ada <nil>
	// <nil>
}
