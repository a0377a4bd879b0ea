package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/worker"
)

type pair struct {
	A int `json:"a"`
	B int `json:"b"`
}

var errBoom = errors.New("boom")

var add = rhubarb.Define("add", func(_ context.Context, p pair) (int, error) { return p.A + p.B, nil })

func TestGetReturnsTheTypedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		res := must(add.Delay(t.Context(), app, pair{2, 3}))(t)
		if n, err := res.Get(t.Context()); n != 5 || err != nil {
			t.Errorf("Get = %d, %v; want 5", n, err)
		}
		s := must(res.State(t.Context()))(t)
		if s.Status != engine.Success || s.Attempt != 1 || string(s.Meta) != "5" {
			t.Errorf("State = %+v; want SUCCESS of attempt 1 with 5", s)
		}
	})
}

func TestFailuresReachTheCaller(t *testing.T) {
	type TooMuch struct{ error }
	cases := []struct {
		name            string
		handler         func(context.Context, pair) (int, error)
		kind, text, mod string
	}{
		{"an error", func(context.Context, pair) (int, error) { return 0, errBoom }, "Error", "boom", "rhubarb"},
		{"a type of its own", func(context.Context, pair) (int, error) { return 0, TooMuch{errBoom} }, "TooMuch", "boom", "rhubarb"},
		{"a panic", func(context.Context, pair) (int, error) { panic("ouch") }, "Panic", "panic: ouch", "rhubarb"},
		{"a soft limit", func(ctx context.Context, _ pair) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) },
			"SoftTimeLimitExceeded", "soft time limit exceeded", "billiard.exceptions"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				task := rhubarb.Define("t", c.handler, rhubarb.TimeLimits(time.Minute, 0))
				run(t, app, nil, task)
				res := must(task.Delay(t.Context(), app, pair{}))(t)
				_, err := res.Get(t.Context())
				var failed *rhubarb.TaskError
				if !errors.As(err, &failed) {
					t.Fatalf("Get: %v; want a TaskError", err)
				}
				if failed.Status != engine.Failure || failed.Type != c.kind || failed.Message != c.text || failed.Module != c.mod {
					t.Errorf("got %+v; want a FAILURE %s.%s: %s", failed, c.mod, c.kind, c.text)
				}
				if c.kind == "Panic" && !strings.Contains(failed.Traceback, "worker_test.go") {
					t.Errorf("traceback %q does not name the line", failed.Traceback)
				}
			})
		})
	}
}

func TestWrongArgumentIsAFailureThatNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		call := must(rhubarb.NewCall("add", rhubarb.Args{Kwargs: map[string]any{"a": "one", "b": 2}}))(t)
		sent := app.Send(t.Context(), call)[0]
		_, err := app.Result(sent.ID).Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Type != "TypeError" || failed.Module != "builtins" ||
			!strings.Contains(failed.Message, `argument "a": want integer, got string`) {
			t.Errorf("Get: %v; want a TypeError about a", err)
		}
	})
}

func TestRetriesWaitAsThePolicySays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var ran []time.Duration
		start := time.Now()
		task := rhubarb.Define("flaky", func(ctx context.Context, _ rhubarb.None) (int, error) {
			ran = append(ran, time.Since(start))
			inv := rhubarb.Current(ctx)
			if inv.Retries+1 != inv.Attempt {
				t.Errorf("retries %d in attempt %d", inv.Retries, inv.Attempt)
			}
			if inv.Retries < 2 {
				return 0, errBoom
			}
			return inv.Retries, nil
		}, rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 3, Backoff: time.Minute, NoJitter: true}))
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		if s := must(res.State(t.Context()))(t); s.Status != engine.Retry || s.Err == nil || s.Err.Message != "boom" {
			t.Errorf("between the runs: %+v; want RETRY because of boom", s)
		}
		if n, err := res.Get(t.Context()); n != 2 || err != nil {
			t.Errorf("Get = %d, %v; want 2", n, err)
		}
		want := []time.Duration{0, time.Minute, 3 * time.Minute}
		for i := range want {
			if i >= len(ran) || ran[i] != want[i] {
				t.Fatalf("ran at %v; want %v", ran, want)
			}
		}
	})
}

func TestRetriesEndInTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		runs := 0
		task := rhubarb.Define("hopeless", func(context.Context, rhubarb.None) (int, error) {
			runs++
			return 0, rhubarb.Retry(errBoom, 3*time.Minute)
		})
		run(t, app, nil, task)
		start := time.Now()
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Message != "boom" {
			t.Errorf("Get: %v; want boom", err)
		}
		if runs != 4 || time.Since(start) != 9*time.Minute {
			t.Errorf("%d runs in %v; want the first and three retries in 9m", runs, time.Since(start))
		}
	})
}

func TestCountdownWaitsInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		start := time.Now()
		res := must(add.Apply(t.Context(), app, pair{1, 1}, rhubarb.Countdown(90*time.Minute)))(t)
		if _, err := res.Get(t.Context()); err != nil || time.Since(start) != 90*time.Minute {
			t.Errorf("done after %v, %v; want 1h30m0s", time.Since(start), err)
		}
	})
}

func TestExpiredIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		res := must(add.Apply(t.Context(), app, pair{1, 1}, rhubarb.ExpiresIn(time.Minute)))(t)
		time.Sleep(time.Minute)
		run(t, app, nil, add)
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Status != engine.Revoked || failed.Message != "expired" {
			t.Errorf("Get: %v; want REVOKED, expired", err)
		}
	})
}

func TestHardLimitFreesTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		let := make(chan struct{})
		deaf := rhubarb.Define("deaf", func(context.Context, rhubarb.None) (int, error) { <-let; return 1, nil },
			rhubarb.TimeLimits(0, time.Minute))
		run(t, app, &worker.Options{Concurrency: 1}, deaf, add)
		start := time.Now()
		res := must(deaf.Delay(t.Context(), app, rhubarb.None{}))(t)
		next := must(add.Delay(t.Context(), app, pair{1, 1}))(t)
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Type != "TimeLimitExceeded" || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v; want TimeLimitExceeded after 1m", time.Since(start), err)
		}
		if _, err := next.Get(t.Context()); err != nil {
			t.Errorf("the next task: %v", err)
		}
		close(let)
		synctest.Wait()
		if s := must(res.State(t.Context()))(t); s.Status != engine.Failure {
			t.Errorf("the late return made it %s", s.Status)
		}
	})
}

// A handler that heeds its context returns as the hard limit comes, and is too
// late all the same.
func TestHardLimitIsNoSoftOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		heeds := rhubarb.Define("heeds", func(ctx context.Context, _ rhubarb.None) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, rhubarb.TimeLimits(0, time.Minute))
		run(t, app, nil, heeds)
		var all []*rhubarb.Result[int]
		for range 100 {
			all = append(all, must(heeds.Delay(t.Context(), app, rhubarb.None{}))(t))
		}
		for _, res := range all {
			_, err := res.Get(t.Context())
			var failed *rhubarb.TaskError
			if !errors.As(err, &failed) || failed.Type != "TimeLimitExceeded" {
				t.Errorf("got %v; want TimeLimitExceeded", err)
			}
		}
	})
}

func TestRevokeStopsARunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var cause atomic.Value
		task := rhubarb.Define("long", func(ctx context.Context, _ rhubarb.None) (int, error) {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return 0, ctx.Err()
		})
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		if err := res.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Status != engine.Revoked || failed.Message != "terminated" {
			t.Errorf("Get: %v; want REVOKED, terminated", err)
		}
		if cause.Load() != rhubarb.ErrRevoked {
			t.Errorf("the handler's cause is %v; want ErrRevoked", cause.Load())
		}
	})
}

func TestRevokedBeforeItRanNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		waiting := must(add.Delay(t.Context(), app, pair{1, 1}))(t)
		delayed := must(add.Apply(t.Context(), app, pair{1, 1}, rhubarb.Countdown(time.Hour)))(t)
		if err := app.Revoke(t.Context(), waiting.ID(), delayed.ID()); err != nil {
			t.Fatal(err)
		}
		var runs atomic.Int32
		count := func(next rhubarb.Handler) rhubarb.Handler {
			return func(ctx context.Context, inv *rhubarb.Invocation) (any, error) { runs.Add(1); return next(ctx, inv) }
		}
		run(t, app, &worker.Options{Run: []func(rhubarb.Handler) rhubarb.Handler{count}}, add)
		time.Sleep(2 * time.Hour)
		for _, res := range []*rhubarb.Result[int]{waiting, delayed} {
			if s := must(res.State(t.Context()))(t); s.Status != engine.Revoked {
				t.Errorf("state %s; want REVOKED", s.Status)
			}
		}
		if runs.Load() != 0 {
			t.Errorf("%d of the revoked tasks ran", runs.Load())
		}
	})
}

func TestRevokedTaskThatIsDeafIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		let := make(chan struct{})
		deaf := rhubarb.Define("deaf", func(context.Context, rhubarb.None) (int, error) { <-let; return 1, nil })
		run(t, app, nil, deaf)
		res := must(deaf.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		start := time.Now()
		if err := res.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := res.Get(t.Context())
		if took := time.Since(start); err == nil || took != 10*time.Second {
			t.Errorf("after %v: %v; want REVOKED after 10s", took, err)
		}
		close(let)
	})
}

func TestAckEarlyRunsAtMostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var runs atomic.Int32
		once := rhubarb.Define("once", func(context.Context, rhubarb.None) (int, error) { runs.Add(1); return 1, nil }, rhubarb.AckEarly())
		res := must(once.Delay(t.Context(), app, rhubarb.None{}))(t)
		// A worker that takes it and is never heard of again.
		recv := must(app.Engines().Broker.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"celery"}}))(t)
		if ds := must(recv.Take(t.Context(), 1))(t); len(ds) != 1 {
			t.Fatalf("took %d messages", len(ds))
		}
		recv.Close()
		run(t, app, nil, once)
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Type != "WorkerLostError" || runs.Load() != 0 {
			t.Errorf("%d runs, %v; want none and a WorkerLostError", runs.Load(), err)
		}
	})
}

func TestIdempotencyKeyAttaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		key := rhubarb.IdempotencyKey("order-7", time.Hour)
		first := must(add.Apply(t.Context(), app, pair{1, 1}, key))(t)
		second := must(add.Apply(t.Context(), app, pair{1, 1}, key))(t)
		if first.ID() != second.ID() || first.Duplicate() || !second.Duplicate() {
			t.Errorf("ids %s, %s, duplicates %v, %v; want one id and the second attached",
				first.ID(), second.ID(), first.Duplicate(), second.Duplicate())
		}
		time.Sleep(time.Hour + time.Second)
		third := must(add.Apply(t.Context(), app, pair{1, 1}, key))(t)
		if third.ID() == first.ID() {
			t.Error("the key outlived its time")
		}
	})
}

func TestCallsThatMakeNoSenseAreRefused(t *testing.T) {
	app := newApp(t)
	cases := []struct {
		name, want string
		opts       []rhubarb.CallOption
	}{
		{"negative countdown", "countdown -1s is negative", []rhubarb.CallOption{rhubarb.Countdown(-time.Second)}},
		{"priority", "priority 10 is not between 0 and 9", []rhubarb.CallOption{rhubarb.Priority(10)}},
		{"queue", "has 201 bytes", []rhubarb.CallOption{rhubarb.Queue(strings.Repeat("q", 201))}},
		{"id", "has 256 bytes", []rhubarb.CallOption{rhubarb.TaskID(strings.Repeat("i", 256))}},
		{"key", "idempotency key has 0 bytes", []rhubarb.CallOption{rhubarb.IdempotencyKey("", 0)}},
		{"header", `header "eta" belongs to the protocol`, []rhubarb.CallOption{rhubarb.Header("eta", "x")}},
		{"expires before its eta", "before its ETA", []rhubarb.CallOption{rhubarb.Countdown(time.Hour), rhubarb.Expires(time.Now())}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := add.Apply(t.Context(), app, pair{}, c.opts...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
		})
	}
}
