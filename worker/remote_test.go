package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/control"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/worker"
)

const me = "celery@host"

// remote makes a client of the app's workers that is content with one reply. It
// is for bubbles: it waits until they listen.
func remote(t *testing.T, app *rhubarb.App) *control.Client {
	t.Helper()
	synctest.Wait()
	return must(control.New(app.Engines().Broker, &control.Options{Limit: 1, Timeout: time.Minute}))(t)
}

// tell sends a command and fails unless it is answered with the text.
func tell(t *testing.T, c *control.Client, cmd control.Command, want string) {
	t.Helper()
	replies := must(c.Call(t.Context(), cmd))(t)
	if got := string(replies[me]); got != want {
		t.Errorf("%s answers %s, want %s", cmd.Method, got, want)
	}
}

// holder is a task that runs until it is let go or stopped.
func holder(name string) (*rhubarb.Task[int, int], chan struct{}) {
	let := make(chan struct{})
	return rhubarb.Define(name, func(ctx context.Context, n int) (int, error) {
		select {
		case <-let:
			return n, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}), let
}

func TestRemoteControlSeesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, let := holder("proj.slow")
		run(t, app, &worker.Options{Name: me, Concurrency: 2, URL: "redis://:sesame@db:6379/3"}, hold)
		res := must(hold.Apply(t.Context(), app, 25, rhubarb.Queue("celery")))(t)
		synctest.Wait()
		c := remote(t, app)
		active := must(c.Active(t.Context()))(t)[me]
		if len(active) != 1 || active[0].ID != res.ID() || string(active[0].Args) != "[25]" || active[0].TimeStart == nil || active[0].WorkerPID == nil || active[0].DeliveryInfo.RoutingKey != "celery" {
			t.Errorf("active: %+v", active)
		}
		found := must(c.Query(t.Context(), res.ID(), "nope"))(t)[me]
		if len(found) != 1 || found[res.ID()].State != "active" {
			t.Errorf("query: %+v", found)
		}
		time.Sleep(90 * time.Second)
		stats := must(c.Stats(t.Context()))(t)[me]
		if stats.Total["proj.slow"] != 1 || stats.Uptime != 90 || stats.Pool.MaxConcurrency != 2 || *stats.Broker.Hostname != "db" || *stats.Broker.VirtualHost != "3" {
			t.Errorf("stats: %+v", stats)
		}
		conf := must(c.Settings(t.Context(), false))(t)[me]
		if got := string(conf["broker_url"]); got != `"redis://:********@db:6379/3"` {
			t.Errorf("broker_url is %s", got)
		}
		if got := must(c.Registered(t.Context(), "max_retries", "rate_limit"))(t)[me]; !slices.Equal(got, []string{"proj.slow [max_retries=0]"}) {
			t.Errorf("registered: %q", got)
		}
		queues := must(c.Queues(t.Context()))(t)[me]
		if len(queues) != 1 || queues[0].Name != "celery" || queues[0].Exchange.Type != "direct" {
			t.Errorf("queues: %+v", queues)
		}
		close(let)
		synctest.Wait()
		if active := must(c.Active(t.Context()))(t)[me]; len(active) != 0 {
			t.Errorf("active after the end: %+v", active)
		}
	})
}

func TestRemoteRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, _ := holder("hold")
		stop := run(t, app, &worker.Options{Name: me, Concurrency: 1}, hold)
		running := must(hold.Delay(t.Context(), app, 1))(t)
		synctest.Wait()
		waiting := must(hold.Delay(t.Context(), app, 2))(t)
		c := remote(t, app)
		tell(t, c, control.RevokeWaiting(waiting.ID()), fmt.Sprintf(`{"ok":"tasks {'%s'} flagged as revoked"}`, waiting.ID()))
		start := time.Now()
		tell(t, c, control.Revoke(running.ID(), waiting.ID()), fmt.Sprintf(`{"ok":"terminate: %s"}`, running.ID()))
		synctest.Wait()
		for _, r := range []*rhubarb.Result[int]{running, waiting} {
			if st := must(r.State(t.Context()))(t); st.Status != engine.Revoked || time.Since(start) != 0 {
				t.Errorf("state %s after %v; want REVOKED at once", st.Status, time.Since(start))
			}
		}
		tell(t, c, control.Revoke("later"), `{"ok":"terminate: tasks unknown"}`)
		stop()
		// All workers were gone: what was revoked still does not run.
		run(t, app, &worker.Options{Name: me}, hold)
		late := must(hold.Apply(t.Context(), app, 3, rhubarb.TaskID("later")))(t)
		synctest.Wait()
		if st := must(late.State(t.Context()))(t); st.Status != engine.Revoked {
			t.Errorf("state %s; want REVOKED", st.Status)
		}
	})
}

func TestAppRevokeTellsEveryWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		heard := must(app.Engines().Broker.Listen(t.Context(), engine.Topic{Exchange: "celery.pidbox"}))(t)
		ids := make([]string, 1500)
		for i := range ids {
			ids[i] = fmt.Sprint("id", i)
		}
		if err := app.Revoke(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		var told []string
		for m := range heard {
			var body struct {
				Method    string
				Arguments struct {
					TaskID    []string `json:"task_id"`
					Terminate bool
				}
			}
			if err := json.Unmarshal(m.Body, &body); err != nil || body.Method != "revoke" || !body.Arguments.Terminate {
				t.Errorf("heard %s, %v", m.Body, err)
			}
			if told = append(told, body.Arguments.TaskID...); len(told) == len(ids) {
				break
			}
		}
		if !slices.Equal(told, ids) {
			t.Errorf("told of %d ids, want %d", len(told), len(ids))
		}
	})
}

func TestRemoteRevokeOfStamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, _ := holder("hold")
		run(t, app, &worker.Options{Name: me}, hold)
		stamped := func(id string) {
			pub := engine.Publication{Queue: "celery", Message: engine.Message{
				ID: id, Task: "hold", ContentType: "application/json", ContentEncoding: "utf-8",
				Headers: []byte(`{"id":"` + id + `","task":"hold","lang":"py","stamped_headers":["of"],"stamps":{"of":["a","b"]},"of":"a"}`),
				Body:    []byte(`[[1],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]`),
			}}
			if r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{pub}); r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
			synctest.Wait()
		}
		stamped("first")
		c := remote(t, app)
		tell(t, c, control.RevokeStamped(map[string][]string{"of": {"b", "z"}}, true), `{"ok":"headers defaultdict(<class 'set'>, {'of': {'b'}}) revoked"}`)
		stamped("second")
		synctest.Wait()
		for _, id := range []string{"first", "second"} {
			if st := must(app.Result(id).State(t.Context()))(t); st.Status != engine.Revoked {
				t.Errorf("%s: state %s, want REVOKED", id, st.Status)
			}
		}
	})
}

func TestPoolGrowsAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, let := holder("hold")
		run(t, app, &worker.Options{Name: me, Concurrency: 2}, hold)
		c := remote(t, app)
		running := func() int { synctest.Wait(); return len(must(c.Active(t.Context()))(t)[me]) }
		synctest.Wait()
		tell(t, c, control.PoolShrink(1), `{"ok":"pool will shrink"}`)
		for i := range 10 {
			must(hold.Delay(t.Context(), app, i))(t)
		}
		if n := running(); n != 1 {
			t.Errorf("%d run with one slot left", n)
		}
		tell(t, c, control.PoolShrink(1), `{"error":"ValueError('the pool has 1 slots and must keep one')"}`)
		tell(t, c, control.PoolGrow(4), `{"ok":"pool will grow"}`)
		if n := running(); n != 5 {
			t.Errorf("%d run with five slots", n)
		}
		tell(t, c, control.PoolShrink(2), `{"ok":"pool will shrink"}`)
		let <- struct{}{}
		let <- struct{}{}
		if n := running(); n != 3 {
			t.Errorf("%d run with three slots", n)
		}
		close(let)
	})
}

func TestQueuesAreAddedAndCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, let := holder("hold")
		run(t, app, &worker.Options{Name: me}, hold)
		c := remote(t, app)
		first := must(hold.Apply(t.Context(), app, 1, rhubarb.Queue("celery")))(t)
		mail := must(hold.Apply(t.Context(), app, 2, rhubarb.Queue("mail")))(t)
		synctest.Wait()
		tell(t, c, control.AddConsumer("mail"), `{"ok":"add consumer mail"}`)
		tell(t, c, control.AddConsumer("mail"), `{"ok":"add consumer mail"}`)
		synctest.Wait()
		if found := must(c.Query(t.Context(), first.ID(), mail.ID()))(t)[me]; len(found) != 2 {
			t.Errorf("held: %v", found)
		}
		tell(t, c, control.CancelConsumer("celery"), `{"ok":"no longer consuming from celery"}`)
		tell(t, c, control.CancelConsumer("mail"), `{"ok":"no longer consuming from mail"}`)
		third := must(hold.Apply(t.Context(), app, 3, rhubarb.Queue("mail")))(t)
		time.Sleep(time.Minute) // leases of what earlier receivers took are renewed
		if found := must(c.Query(t.Context(), first.ID(), mail.ID(), third.ID()))(t)[me]; len(found) != 2 {
			t.Errorf("held: %v", slices.Collect(maps.Keys(found)))
		}
		if err := app.Revoke(t.Context(), mail.ID()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the run has heard of it
		close(let)
		synctest.Wait()
		for id, want := range map[string]string{first.ID(): engine.Success, mail.ID(): engine.Revoked, third.ID(): engine.Pending} {
			if st := must(app.Result(id).State(t.Context()))(t); st.Status != want {
				t.Errorf("state %s, want %s", st.Status, want)
			}
		}
		tell(t, c, control.AddConsumer("mail"), `{"ok":"add consumer mail"}`)
		synctest.Wait()
		if st := must(third.State(t.Context()))(t); st.Status != engine.Success {
			t.Errorf("third: state %s, want SUCCESS", st.Status)
		}
	})
}

func TestRateLimitSpacesStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var starts []time.Duration
		began := time.Now()
		tick := rhubarb.Define("tick", func(context.Context, rhubarb.None) (rhubarb.None, error) {
			starts = append(starts, time.Since(began)) // one slot: one at a time
			return rhubarb.None{}, nil
		})
		other := rhubarb.Define("other", func(context.Context, rhubarb.None) (time.Duration, error) { return time.Since(began), nil })
		run(t, app, &worker.Options{Name: me, Concurrency: 1}, tick, other)
		c := remote(t, app)
		tell(t, c, control.RateLimit("tick", "6/m"), `{"ok":"new rate limit set successfully"}`)
		var last *rhubarb.Result[rhubarb.None]
		for range 4 {
			last = must(tick.Delay(t.Context(), app, rhubarb.None{}))(t)
		}
		synctest.Wait()
		if held := must(c.Reserved(t.Context()))(t)[me]; len(held) != 3 || held[0].TimeStart != nil {
			t.Errorf("reserved: %+v, want three that have not started", held)
		}
		free := must(must(other.Delay(t.Context(), app, rhubarb.None{}))(t).Get(t.Context()))(t)
		if free != 0 {
			t.Errorf("another task ran after %v; those that wait hold no slot", free)
		}
		must(last.Get(t.Context()))(t)
		if want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second}; !slices.Equal(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
		// Without a rate what waits starts at once.
		for range 3 {
			last = must(tick.Delay(t.Context(), app, rhubarb.None{}))(t)
		}
		synctest.Wait()
		tell(t, c, control.RateLimit("tick", "0"), `{"ok":"rate limit disabled successfully"}`)
		must(last.Get(t.Context()))(t)
		if got := time.Since(began); got != 30*time.Second {
			t.Errorf("the last ended after %v, want 30s", got)
		}
	})
}

func TestWhatWaitsForItsRateIsGivenBackOrRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		stop := run(t, app, &worker.Options{Name: me, Concurrency: 1}, add)
		c := remote(t, app)
		tell(t, c, control.RateLimit("add", "1/h"), `{"ok":"new rate limit set successfully"}`)
		ids := make([]string, 3)
		for i := range ids {
			ids[i] = must(add.Delay(t.Context(), app, pair{i, i}))(t).ID()
			synctest.Wait()
		}
		tell(t, c, control.Revoke(ids[1]), `{"ok":"terminate: `+ids[1]+`"}`)
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 0 {
			t.Errorf("stopped after %v, want at once", took)
		}
		var states []string
		for _, id := range ids {
			states = append(states, must(app.Result(id).State(t.Context()))(t).Status)
		}
		if got, want := strings.Join(states, " "), "SUCCESS REVOKED PENDING"; got != want {
			t.Errorf("states %s, want %s", got, want)
		}
	})
}

func TestRemoteTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		hold, _ := holder("hold")
		run(t, app, &worker.Options{Name: me}, hold)
		tell(t, remote(t, app), control.TimeLimit("hold", 3*time.Second, 0), `{"ok":"time limits set successfully"}`)
		start := time.Now()
		_, err := must(hold.Delay(t.Context(), app, 1))(t).Get(t.Context())
		if err == nil || time.Since(start) != 3*time.Second {
			t.Errorf("ended with %v after %v, want a failure after 3s", err, time.Since(start))
		}
	})
}

func TestRemoteShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		w := must(worker.New(app, []rhubarb.Runnable{add}, &worker.Options{Name: me}))(t)
		ended := make(chan error, 1)
		go func() { ended <- w.Run(t.Context()) }()
		synctest.Wait()
		if err := remote(t, app).Cast(t.Context(), control.Shutdown()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestWithoutControlNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, &worker.Options{NoControl: true}, add)
		synctest.Wait()
		if up := must(must(control.New(app.Engines().Broker, nil))(t).Ping(t.Context()))(t); len(up) != 0 {
			t.Errorf("%v answered", up)
		}
	})
}
