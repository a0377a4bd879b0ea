package rhubarbtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/rhubarbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type welcome struct {
	To   string `json:"to"`
	Lang string `json:"lang,omitempty"`
}

// sendWelcome fails twice with a flaky server and then succeeds.
var sendWelcome = rhubarb.Define("mail.welcome", func(ctx context.Context, w welcome) (string, error) {
	if rhubarb.Current(ctx).Retries < 2 {
		return "", errors.New("server busy")
	}
	if err := rhubarb.Emit(ctx, "hello "+w.To); err != nil {
		return "", err
	}
	return "sent to " + w.To, rhubarb.Progress(ctx, 1, 1)
}, rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 5, Backoff: time.Minute, NoJitter: true}), rhubarb.OnQueue("mail"))

var cleanUp = rhubarb.Define("clean.up", func(context.Context, rhubarb.None) (rhubarb.None, error) { return rhubarb.None{}, nil })

// signUp is the code under test.
func signUp(ctx context.Context, app *rhubarb.App, to string) (*rhubarb.Result[string], error) {
	return sendWelcome.Apply(ctx, app, welcome{To: to}, rhubarb.Countdown(time.Hour))
}

func TestSignUpSendsTheWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := rhubarbtest.New(t, sendWelcome, cleanUp)
		if _, err := signUp(t.Context(), app.App, "a@example.org"); err != nil {
			t.Fatal(err)
		}
		call := rhubarbtest.WasSent(t, app, sendWelcome, welcome{To: "a@example.org"})
		if call.Queue != "mail" || time.Until(call.ETA) != time.Hour {
			t.Errorf("queue %s in %v; want mail in 1h", call.Queue, time.Until(call.ETA))
		}
		rhubarbtest.NotSent(t, app, cleanUp)
		if ins := rhubarbtest.Inputs(t, app, sendWelcome); len(ins) != 1 || ins[0].To != "a@example.org" {
			t.Errorf("inputs %+v", ins)
		}
	})
}

func TestARealRunInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := rhubarbtest.New(t, sendWelcome)
		app.Work(t)
		start := time.Now()
		res, err := signUp(t.Context(), app.App, "a@example.org")
		if err != nil {
			t.Fatal(err)
		}
		text, err := res.Get(t.Context())
		if text != "sent to a@example.org" || err != nil {
			t.Errorf("Get = %q, %v", text, err)
		}
		// The countdown, then one and two minutes of backoff.
		if took := time.Since(start); took != time.Hour+3*time.Minute {
			t.Errorf("done after %v; want 1h3m", took)
		}
	})
}

func TestInvokeShowsWhatAHandlerDid(t *testing.T) {
	app := rhubarbtest.New(t, sendWelcome)
	ran := rhubarbtest.Invoke(t, app, sendWelcome, welcome{To: "b"}, rhubarbtest.Retries(2))
	if ran.Out != "sent to b" || ran.Err != nil {
		t.Errorf("out %q, %v", ran.Out, ran.Err)
	}
	if len(ran.Emitted) != 1 || string(ran.Emitted[0]) != `"hello b"` {
		t.Errorf("emitted %s", ran.Emitted)
	}
	if cur, total, ok := ran.States[0].Progress(); !ok || cur != 1 || total != 1 {
		t.Errorf("progress %d of %d, %v", cur, total, ok)
	}
	if ran := rhubarbtest.Invoke(t, app, sendWelcome, welcome{}); ran.Err == nil {
		t.Error("the first run gave no error")
	}
}

// failing records what an assertion says instead of failing the test.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper()               {}
func (f *failing) Errorf(string, ...any) { f.failed = true }
func (f *failing) Fatalf(string, ...any) { f.failed = true; panic(f) }

func TestAssertionsFail(t *testing.T) {
	app := rhubarbtest.New(t, sendWelcome)
	if _, err := signUp(t.Context(), app.App, "a"); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(testing.TB){
		"WasSent with another input": func(tb testing.TB) { rhubarbtest.WasSent(tb, app, sendWelcome, welcome{To: "b"}) },
		"WasSent of another task":    func(tb testing.TB) { rhubarbtest.WasSent(tb, app, cleanUp, rhubarb.None{}) },
		"NotSent":                    func(tb testing.TB) { rhubarbtest.NotSent(tb, app, sendWelcome) },
	}
	for name, assert := range cases {
		f := &failing{TB: t}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(f) {
					panic(p)
				}
			}()
			assert(f)
		}()
		if !f.failed {
			t.Errorf("%s did not fail", name)
		}
	}
}
