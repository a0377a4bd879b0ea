package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/worker"
)

func TestStopLetsRunningTasksFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		slow := rhubarb.Define("slow", func(ctx context.Context, _ rhubarb.None) (int, error) {
			time.Sleep(5 * time.Second)
			return 1, ctx.Err()
		})
		stop := run(t, app, nil, slow)
		res := must(slow.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("stopped after %v; want 5s", took)
		}
		if s := must(res.State(t.Context()))(t); s.Status != engine.Success {
			t.Errorf("state %s; want SUCCESS", s.Status)
		}
	})
}

func TestStopGivesBackAfterTheGrace(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		name := "a task that ignores its context"
		if heeds {
			name = "a task that heeds its context"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				var last atomic.Int32
				let := make(chan struct{})
				slow := rhubarb.Define("slow", func(ctx context.Context, _ rhubarb.None) (int, error) {
					attempt := rhubarb.Current(ctx).Attempt
					if last.Add(1) > 1 {
						return attempt, nil
					}
					if !heeds {
						<-let
						return 0, nil
					}
					<-ctx.Done()
					return 0, context.Cause(ctx)
				})
				stop := run(t, app, &worker.Options{Grace: 20 * time.Second}, slow)
				res := must(slow.Delay(t.Context(), app, rhubarb.None{}))(t)
				synctest.Wait()
				start := time.Now()
				stop()
				want := 20 * time.Second
				if !heeds {
					want += 2 * time.Second
				}
				if took := time.Since(start); took != want {
					t.Errorf("stopped after %v; want %v", took, want)
				}
				close(let)
				run(t, app, nil, slow)
				start = time.Now()
				attempt, err := res.Get(t.Context())
				if err != nil || attempt != 1 || time.Since(start) != 0 {
					t.Errorf("next worker: attempt %d after %v, %v; want attempt 1 at once", attempt, time.Since(start), err)
				}
			})
		})
	}
}

func TestRunTwiceAtOnceIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		w := must(worker.New(app, []rhubarb.Runnable{add}, nil))(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		if err := w.Run(ctx); err == nil {
			t.Error("the second Run gave no error")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the first Run: %v", err)
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	app := newApp(t)
	if _, err := worker.New(app, []rhubarb.Runnable{add, add}, nil); err == nil {
		t.Error("two tasks of one name gave no error")
	}
	if _, err := worker.New(app, nil, &worker.Options{Concurrency: -1}); err == nil {
		t.Error("a negative concurrency gave no error")
	}
	if _, err := worker.New(app, nil, &worker.Options{Queues: []string{""}}); err == nil {
		t.Error("an empty queue name gave no error")
	}
	other := newApp(t).Engines()
	set := app.Engines()
	set.Results = other.Results
	mixed := must(rhubarb.New(set, nil))(t)
	if _, err := worker.New(mixed, nil, nil); err == nil {
		t.Error("mixed engines gave no error")
	}
}

func TestTenThousandWaitingHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var running, most atomic.Int32
		wait := rhubarb.Define("wait", func(ctx context.Context, _ rhubarb.None) (rhubarb.None, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Minute)
			return rhubarb.None{}, nil
		})
		const n = 10_000
		calls := make([]*rhubarb.Call, n)
		for i := range calls {
			calls[i] = must(wait.Call(rhubarb.None{}))(t)
		}
		sent := app.Send(t.Context(), calls...)
		start := time.Now()
		run(t, app, &worker.Options{Concurrency: n}, wait)
		for _, s := range sent {
			if s.Err != nil {
				t.Fatal(s.Err)
			}
			if _, err := app.Result(s.ID).Get(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != time.Minute || running.Load() != 0 {
			t.Errorf("took %v, %d still run; want all at once in 1m", took, running.Load())
		}
		synctest.Wait()
		if most.Load() < n*99/100 {
			t.Errorf("%d ran at once; want %d", most.Load(), n)
		}
	})
}
