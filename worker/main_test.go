package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, "worker process:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// newApp makes an app on an engine of its own.
func newApp(t *testing.T) *rhubarb.App {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() { eng.Close() })
	app, err := rhubarb.New(engine.All(eng), nil)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// run starts a worker and returns what stops it and waits for its end. It is
// stopped at the end of the test in any case.
func run(t *testing.T, app *rhubarb.App, opts *worker.Options, tasks ...rhubarb.Runnable) (stop func()) {
	t.Helper()
	if opts == nil {
		opts = &worker.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	w, err := worker.New(app, tasks, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var over bool
	stop = func() {
		t.Helper()
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// must is for calls that cannot fail in a test that works.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
