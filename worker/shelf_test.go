package worker_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/worker"
)

func TestUnknownTaskIsParkedUntilAWorkerKnowsIt(t *testing.T) {
	other := rhubarb.Define("other", func(context.Context, rhubarb.None) (int, error) { return 1, nil })
	for _, order := range []string{"the knowing worker comes later", "the knowing worker is there already"} {
		t.Run(order, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				stop := run(t, app, nil, add)
				res := must(other.Delay(t.Context(), app, rhubarb.None{}))(t)
				synctest.Wait()
				list := must(app.Engines().Broker.Shelved(t.Context(), engine.Parked, "", 10))(t)
				if len(list) != 1 || list[0].Task != "other" || !strings.Contains(list[0].Reason, "knows task other") {
					t.Fatalf("parked %+v; want the task other", list)
				}
				if s := must(res.State(t.Context()))(t); s.Ready() {
					t.Errorf("a parked task is %s", s.Status)
				}
				if order == "the knowing worker comes later" {
					stop()
				}
				run(t, app, nil, other)
				if n, err := res.Get(t.Context()); n != 1 || err != nil {
					t.Errorf("Get = %d, %v; want 1", n, err)
				}
			})
		})
	}
}

// parkings counts lines of a log that tell of parked tasks, and holds up whoever
// writes many.
type parkings struct {
	n    atomic.Int32
	over chan struct{} // closed at the end
}

func (p *parkings) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "task parked") && p.n.Add(1) > 10 {
		<-p.over
	}
	return len(line), nil
}

func TestPartOfAChordStaysParkedWhereItsTaskIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, log := newApp(t), &parkings{over: make(chan struct{})}
		defer close(log.over)
		m := engine.Message{ID: "part", Task: "add", ContentType: "application/json", ContentEncoding: "utf-8",
			Headers:    []byte(`{"task":"add","id":"part","group":"g"}`),
			Properties: []byte(`{"correlation_id":"part"}`),
			Body:       []byte(`[[1,2],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":{"task":"body","args":[],"kwargs":{},"options":{}}}]`)}
		if r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{{Message: m, Queue: "celery"}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		opts := func() *worker.Options { return &worker.Options{Logger: slog.New(slog.NewTextHandler(log, nil))} }
		run(t, app, opts(), add)
		synctest.Wait()
		run(t, app, opts(), add) // one that comes later leaves it, too
		synctest.Wait()
		if n := log.n.Load(); n != 1 {
			t.Errorf("it was parked %d times, want once", n)
		}
		if list := must(app.Engines().Broker.Shelved(t.Context(), engine.Parked, "", 10))(t); len(list) != 1 || list[0].ID != "part" {
			t.Errorf("parked %+v; want the part", list)
		}
	})
}

func TestUnreadableMessagesAreDeadLetteredAndTheWorkerGoesOn(t *testing.T) {
	good := engine.Message{ID: "x", Task: "add", ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: []byte(`{"task":"add","id":"x"}`), Properties: []byte(`{"correlation_id":"x"}`), Body: []byte(`[[1,2],{},{}]`)}
	cases := []struct {
		name, want string
		spoil      func(*engine.Message)
	}{
		{"truncated body", "body", func(m *engine.Message) { m.Body = m.Body[:5] }},
		{"pickle", "pickle", func(m *engine.Message) { m.ContentType, m.ContentEncoding = "application/x-python-serialize", "binary" }},
		{"foreign content type", "text/plain", func(m *engine.Message) { m.ContentType = "text/plain" }},
		{"headers are no JSON", "header", func(m *engine.Message) { m.Headers = []byte(`{"task":`) }},
		{"a header of the wrong type", "retries", func(m *engine.Message) { m.Headers = []byte(`{"task":"add","id":"x","retries":"many"}`) }},
		{"unknown compression", "lzma", func(m *engine.Message) {
			m.Headers = []byte(`{"task":"add","id":"x","compression":"application/x-lzma"}`)
		}},
		{"body is no array", "body", func(m *engine.Message) { m.Body = []byte(`7`) }},
		{"invalid UTF-8", "UTF-8", func(m *engine.Message) { m.Body = []byte("[[\"\xff\"],{},{}]") }},
	}
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		for _, c := range cases {
			m := good
			m.ID = strings.ReplaceAll(c.name, " ", "-")
			c.spoil(&m)
			m.Headers = []byte(strings.ReplaceAll(string(m.Headers), `"id":"x"`, `"id":"`+m.ID+`"`))
			r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{{Message: m, Queue: "celery"}})[0]
			if r.Err != nil {
				t.Fatalf("%s: %v", c.name, r.Err)
			}
			if _, err := app.Result(m.ID).Get(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: result %v; want a failure about %s", c.name, err, c.want)
			}
		}
		dead := must(app.Engines().Broker.Shelved(t.Context(), engine.Dead, "", 100))(t)
		if len(dead) != len(cases) {
			t.Errorf("%d dead letters; want %d", len(dead), len(cases))
		}
		if n, err := must(add.Delay(t.Context(), app, pair{1, 2}))(t).Get(t.Context()); n != 3 || err != nil {
			t.Errorf("afterwards: %d, %v; want 3", n, err)
		}
	})
}

func TestRejectIsDeadLetteredAndCanBeRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var healed atomic.Bool
		picky := rhubarb.Define("picky", func(context.Context, rhubarb.None) (int, error) {
			if healed.Load() {
				return 1, nil
			}
			return 0, rhubarb.Reject("not today")
		})
		run(t, app, nil, picky)
		res := must(picky.Delay(t.Context(), app, rhubarb.None{}))(t)
		if _, err := res.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "REJECTED: Reject: not today") {
			t.Errorf("Get: %v; want REJECTED, not today", err)
		}
		healed.Store(true)
		for _, err := range app.Engines().Broker.Restore(t.Context(), engine.Dead, []string{res.ID()}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if n, err := res.Get(t.Context()); n != 1 || err != nil {
			t.Errorf("again: %d, %v; want 1", n, err)
		}
	})
}

func TestIgnoreEndsWithoutAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		task := rhubarb.Define("shrug", func(context.Context, rhubarb.None) (int, error) { return 7, rhubarb.Ignore })
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := res.Get(ctx); err == nil || !strings.Contains(err.Error(), "IGNORED") {
			t.Errorf("Get: %v; want IGNORED", err)
		}
	})
}
