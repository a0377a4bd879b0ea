package rhubarbtest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

// App is a rhubarb.App in memory that remembers the calls it sent. It is
// closed at the end of the test. Made inside a synctest bubble, it lives in
// the bubble's time.
type App struct {
	*rhubarb.App
	tasks []rhubarb.Runnable

	mu   sync.Mutex
	sent []*rhubarb.Call
}

// New makes an app for the tasks. Nothing runs them until [App.Work].
func New(t testing.TB, tasks ...rhubarb.Runnable) *App {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Errorf("rhubarbtest: close: %v", err)
		}
	})
	a := &App{tasks: tasks}
	app, err := rhubarb.New(engine.All(eng), &rhubarb.Options{
		Send: []func(rhubarb.SendFunc) rhubarb.SendFunc{a.remember},
	})
	if err != nil {
		t.Fatalf("rhubarbtest: %v", err)
	}
	a.App = app
	return a
}

// remember is send middleware that keeps the calls that were accepted.
func (a *App) remember(next rhubarb.SendFunc) rhubarb.SendFunc {
	return func(ctx context.Context, calls []*rhubarb.Call) []rhubarb.Sent {
		sent := next(ctx, calls)
		a.mu.Lock()
		defer a.mu.Unlock()
		for i, s := range sent {
			if s.Err == nil && !s.Duplicate {
				a.sent = append(a.sent, calls[i])
			}
		}
		return sent
	}
}

// Sent returns the accepted calls so far, in order. The calls that a task's
// retry or link makes are not among them.
func (a *App) Sent() []*rhubarb.Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.sent)
}

// Work starts a worker for the app's tasks on all queues named so far and the
// default one. It stops at the end of the test, or when the returned function
// is called.
func (a *App) Work(t testing.TB) (stop func()) {
	t.Helper()
	queues := []string{a.DefaultQueue()}
	add := func(q string) {
		if q != "" && !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	for _, task := range a.tasks {
		add(task.Definition().Defaults.Queue)
	}
	for _, c := range a.Sent() {
		add(c.Queue)
	}
	w, err := worker.New(a.App, a.tasks, &worker.Options{Queues: queues, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("rhubarbtest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("rhubarbtest: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}
