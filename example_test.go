package rhubarb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

// Email is the input of a task. A Python caller gives its fields by position
// or by their JSON names.
type Email struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
}

// SendEmail is a package variable: a task is bound to no app.
var SendEmail = rhubarb.Define("mail.send_email", func(ctx context.Context, e Email) (string, error) {
	const steps = 3
	for i := range steps {
		if err := rhubarb.Progress(ctx, i+1, steps); err != nil {
			return "", err // the run is void: revoked, or another worker has it
		}
	}
	return "sent to " + e.To, nil
})

// start gives the examples an app and a worker in memory. A program takes its
// engine from engine/dial or leaves all of this to package cli.
func start(tasks ...rhubarb.Runnable) (*rhubarb.App, func()) {
	e := memengine.New()
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		panic(err)
	}
	w, err := worker.New(app, tasks, &worker.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return app, func() {
		cancel()
		if err := errors.Join(<-done, e.Close()); err != nil {
			panic(err)
		}
	}
}

func Example() {
	app, stop := start(SendEmail)
	defer stop()
	ctx := context.Background()

	res, err := SendEmail.Delay(ctx, app, Email{To: "a@example.org"})
	if err != nil {
		fmt.Println(err) // the engine did not accept the call
		return
	}
	text, err := res.Get(ctx) // a string, since the task returns one
	fmt.Println(text, err)
	// Output: sent to a@example.org <nil>
}

// The call options are those of Celery's apply_async.
func ExampleTask_Apply() {
	app, stop := start(SendEmail)
	defer stop()
	ctx := context.Background()

	res, err := SendEmail.Apply(ctx, app, Email{To: "a@example.org"},
		rhubarb.Countdown(50*time.Millisecond), // not before
		rhubarb.ExpiresIn(time.Hour),           // or not at all
		rhubarb.Priority(0),                    // before others of its queue
		rhubarb.Header("tenant", "acme"),       // for the handler, see Invocation.Headers
		rhubarb.TaskID("welcome-7"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := res.Get(ctx)
	fmt.Println(res.ID(), text, err)

	_, err = SendEmail.Apply(ctx, app, Email{To: "a@example.org"}, rhubarb.Countdown(-time.Second))
	fmt.Println(err)
	// Output:
	// welcome-7 sent to a@example.org <nil>
	// rhubarb: send mail.send_email: countdown -1s is negative: use 0 for at once
}

// A second call with the key of an earlier one attaches to it.
func ExampleIdempotencyKey() {
	app, stop := start(SendEmail)
	defer stop()
	ctx := context.Background()
	in := Email{To: "a@example.org"}

	first, err := SendEmail.Apply(ctx, app, in, rhubarb.IdempotencyKey("order-7", time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := SendEmail.Apply(ctx, app, in, rhubarb.IdempotencyKey("order-7", time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(second.Duplicate(), first.ID() == second.ID())
	// Output: true true
}

// A handler steers by the error it returns.
func ExampleRetry() {
	fetch := rhubarb.Define("fetch", func(ctx context.Context, url string) (string, error) {
		switch inv := rhubarb.Current(ctx); {
		case url == "":
			return "", rhubarb.Reject("there is nothing to fetch") // set aside, for a person to see
		case inv.Retries < 2:
			return "", rhubarb.Retry(errors.New("the site is busy"), time.Millisecond)
		default:
			return fmt.Sprintf("fetched by attempt %d", inv.Attempt), nil
		}
	})
	app, stop := start(fetch)
	defer stop()
	ctx := context.Background()

	res, err := fetch.Delay(ctx, app, "https://example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Get(ctx))
	// Output: fetched by attempt 3 <nil>
}

// Without a policy an error is the end, as in Celery.
func ExampleWithRetry() {
	tries := 0
	flaky := rhubarb.Define("flaky", func(context.Context, rhubarb.None) (int, error) {
		if tries++; tries < 3 {
			return 0, errors.New("not yet")
		}
		return tries, nil
	}, rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 5, Backoff: time.Millisecond}))
	app, stop := start(flaky)
	defer stop()
	ctx := context.Background()

	res, err := flaky.Delay(ctx, app, rhubarb.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Get(ctx))
	// Output: 3 <nil>
}

// A failure arrives with the handler's words.
func ExampleTaskError() {
	fail := rhubarb.Define("fail", func(context.Context, rhubarb.None) (rhubarb.None, error) {
		return rhubarb.None{}, errors.New("no such mailbox")
	})
	app, stop := start(fail)
	defer stop()
	ctx := context.Background()

	res, err := fail.Delay(ctx, app, rhubarb.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = res.Get(ctx)
	var failed *rhubarb.TaskError
	if errors.As(err, &failed) {
		fmt.Println(failed.Status, failed.Message)
	}
	// Output: FAILURE no such mailbox
}

// What a task emits is in its stream, in order and once, also for who comes
// late or comes back.
func ExampleEmit() {
	write := rhubarb.Define("write", func(ctx context.Context, words []string) (int, error) {
		for _, w := range words {
			if err := rhubarb.Emit(ctx, w); err != nil {
				return 0, err
			}
		}
		return len(words), nil
	})
	app, stop := start(write)
	defer stop()
	ctx := context.Background()

	res, err := write.Delay(ctx, app, []string{"once", "upon", "a", "time"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for rec, err := range res.Stream().Tail(ctx, "") { // ends with the task
		if err != nil {
			fmt.Println(err)
			return
		}
		if rec.Kind == engine.KindData {
			fmt.Println(string(rec.Payload))
		}
	}
	// Output:
	// "once"
	// "upon"
	// "a"
	// "time"
}

// A state is the latest one: a watcher may miss some in between, but never the
// last.
func ExampleResult_Watch() {
	app, stop := start(SendEmail)
	defer stop()
	ctx := context.Background()

	res, err := SendEmail.Delay(ctx, app, Email{To: "a@example.org"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var last rhubarb.State
	for state, err := range res.Watch(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if n, of, ok := state.Progress(); ok && n > of {
			fmt.Println("this does not happen")
		}
		last = state
	}
	fmt.Println(last.Status, last.Ready())
	// Output: SUCCESS true
}

// Revoke stops a task wherever it is: waiting, delayed or running.
func ExampleResult_Revoke() {
	app, stop := start(SendEmail)
	defer stop()
	ctx := context.Background()

	res, err := SendEmail.Apply(ctx, app, Email{To: "a@example.org"}, rhubarb.Countdown(time.Hour), rhubarb.TaskID("welcome-8"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := res.Revoke(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_, err = res.Get(ctx)
	fmt.Println(err)
	// Output: task welcome-8 is REVOKED: TaskRevokedError: revoked
}

// Send middleware sees every call of an app on its way out.
func ExampleOptions_send() {
	e := memengine.New()
	defer e.Close()
	tenant := func(next rhubarb.SendFunc) rhubarb.SendFunc {
		return func(ctx context.Context, calls []*rhubarb.Call) []rhubarb.Sent {
			for _, c := range calls {
				rhubarb.Header("tenant", "acme")(c)
			}
			return next(ctx, calls)
		}
	}
	app, err := rhubarb.New(engine.All(e), &rhubarb.Options{Send: []func(rhubarb.SendFunc) rhubarb.SendFunc{tenant}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = SendEmail.Delay(context.Background(), app, Email{To: "a@example.org"})
	fmt.Println(err)
	// Output: <nil>
}

// A task that this program does not define, a Python one say, is called by its
// name.
func ExampleNewCall() {
	e := memengine.New()
	defer e.Close()
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	call, err := rhubarb.NewCall("reports.render", rhubarb.Args{Args: []any{2026}, Kwargs: map[string]any{"format": "pdf"}}, rhubarb.Queue("reports"))
	if err != nil {
		fmt.Println(err)
		return
	}
	sent := app.Send(context.Background(), call)[0]
	state, err := app.Result(sent.ID).State(context.Background())
	fmt.Println(state.Status, err)
	// Output: PENDING <nil>
}
