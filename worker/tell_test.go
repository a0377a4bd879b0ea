package worker_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/worker"
)

// hear gathers what is said of a task, in the order in which it was sent.
func hear(t *testing.T, app *rhubarb.App) (said func(id string) []string) {
	t.Helper()
	msgs := must(app.Engines().Broker.Listen(t.Context(), engine.Topic{Exchange: "celeryev", Key: "#"}))(t)
	var bodies [][]byte
	go func() { // ends with the test's context
		for m := range msgs {
			bodies = append(bodies, m.Body)
		}
	}()
	return func(id string) []string {
		synctest.Wait()
		var out []string
		for _, body := range bodies {
			for _, e := range must(event.Decode(body))(t) {
				if e.TaskID() == id {
					out = append(out, e.Type+" "+e.Text("exception")+e.Text("result")+string(e.Field("terminated"))+string(e.Field("expired")))
				}
			}
		}
		return out
	}
}

func TestEventsOfTasks(t *testing.T) {
	for _, c := range []struct {
		name string
		task func(context.Context, rhubarb.None) (string, error)
		call []rhubarb.CallOption
		want []string
	}{
		{"success", func(context.Context, rhubarb.None) (string, error) { return "done", nil }, nil,
			[]string{"task-received ", "task-started ", "task-succeeded 'done'"}},
		{"failure", func(context.Context, rhubarb.None) (string, error) { return "", errBoom }, nil,
			[]string{"task-received ", "task-started ", "task-failed Error('boom')"}},
		{"retry", func(ctx context.Context, _ rhubarb.None) (string, error) {
			if rhubarb.Current(ctx).Retries == 0 {
				return "", rhubarb.Retry(errBoom, time.Second)
			}
			return "done", nil
		}, nil, []string{"task-received ", "task-started ", "task-retried Error('boom')", "task-received ", "task-started ", "task-succeeded 'done'"}},
		{"reject", func(context.Context, rhubarb.None) (string, error) { return "", rhubarb.Reject("no") }, nil,
			[]string{"task-received ", "task-started ", "task-failed reject requeue=False: no", "task-rejected "}},
		{"expired", nil, []rhubarb.CallOption{rhubarb.Expires(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))},
			[]string{"task-revoked falsetrue"}},
		{"revoked while it ran", func(ctx context.Context, _ rhubarb.None) (string, error) { <-ctx.Done(); return "", ctx.Err() }, nil,
			[]string{"task-received ", "task-started ", "task-revoked truefalse"}},
	} {
		for _, enabled := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					app := newApp(t)
					said := hear(t, app)
					task := rhubarb.Define("t", func(ctx context.Context, n rhubarb.None) (string, error) { return c.task(ctx, n) })
					run(t, app, &worker.Options{Events: enabled}, task)
					res := must(task.Apply(t.Context(), app, rhubarb.None{}, c.call...))(t)
					time.Sleep(10 * time.Second)
					if c.name == "revoked while it ran" {
						if err := res.Revoke(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					res.Get(t.Context())
					time.Sleep(time.Second)
					want := c.want
					if !enabled {
						want = nil
					}
					if got := said(res.ID()); !slices.Equal(got, want) {
						t.Errorf("said %q, want %q", got, want)
					}
				})
			})
		}
	}
}

func TestTheWorkerSaysThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		msgs := must(app.Engines().Broker.Listen(t.Context(), engine.Topic{Exchange: "celeryev", Key: "worker.#"}))(t)
		var kinds []string
		var last event.Event
		go func() { // ends with the test's context
			for m := range msgs {
				if es, err := event.Decode(m.Body); err == nil {
					last = es[0]
					kinds = append(kinds, last.Type)
				}
			}
		}()
		stop := run(t, app, nil, add)
		must(add.Delay(t.Context(), app, pair{1, 2}))(t).Get(t.Context())
		time.Sleep(5 * time.Second)
		stop()
		synctest.Wait()
		want := []string{"worker-online", "worker-heartbeat", "worker-heartbeat", "worker-offline"}
		if !slices.Equal(kinds, want) || !jsonIs(last.Field("processed"), "1") || !jsonIs(last.Field("freq"), "2.0") || !jsonIs(last.Field("active"), "0") {
			t.Errorf("said %q, at last %s of %s", kinds, last.Type, last.Append(nil))
		}
	})
}

func TestCallsAreToldToMonitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := must(rhubarb.New(newApp(t).Engines(), &rhubarb.Options{SentEvents: true}))(t)
		msgs := must(app.Engines().Broker.Listen(t.Context(), engine.Topic{Exchange: "celeryev", Key: "task.sent"}))(t)
		var got []event.Event
		go func() { // ends with the test's context
			for m := range msgs {
				got = append(got, must(event.Decode(m.Body))(t)...)
			}
		}()
		res := must(add.Apply(t.Context(), app, pair{2, 3}, rhubarb.Queue("q")))(t)
		synctest.Wait()
		if len(got) != 1 || got[0].TaskID() != res.ID() || got[0].Text("kwargs") != "{'a': 2, 'b': 3}" || got[0].Text("queue") != "q" || got[0].Text("routing_key") != "q" {
			t.Errorf("told %v; want task-sent of %s", got, res.ID())
		}
	})
}

func jsonIs(raw json.RawMessage, want string) bool { return string(raw) == want }
