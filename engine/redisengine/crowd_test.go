package redisengine_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

// long reports whether tests of faults take their time: many rounds in place of
// a few.
func long() bool { return os.Getenv("RHUBARB_FAULTS") == "long" }

// rounds picks how often something is done to Redis.
func rounds(few, many int) int {
	if long() {
		return many
	}
	return few
}

// crowd is workers, callers and readers that are at work on one Redis, and what
// they have seen. Callers call, wait for the result, and call again; every
// third reads the task's stream to its end as well.
type crowd struct {
	t      testing.TB
	app    *rhubarb.App // of the callers
	work   *rhubarb.Task[crowdJob, int]
	hold   time.Duration // how long a task runs at most
	lapses bool          // workers may lose sight of Redis for a lease, and then give up what they run
	end    context.CancelFunc
	wg     sync.WaitGroup // callers
	calls  atomic.Int64   // accepted
	errors atomic.Int64   // refused, so that nothing is promised

	mu     sync.Mutex
	starts map[string][]time.Time
	bad    []string
	last   time.Time // a caller had its result
	worst  time.Duration
}

type crowdJob struct {
	N int `json:"n"`
}

var quiet = slog.New(slog.DiscardHandler)

// startCrowd has two workers and some callers begin. stop ends it.
func startCrowd(t testing.TB, url string, callers int) *crowd {
	t.Helper()
	c := &crowd{t: t, hold: 30 * time.Millisecond, starts: map[string][]time.Time{}}
	c.work = rhubarb.Define("crowd.work", c.run)
	c.app = crowdApp(t, url)
	for i := range 2 {
		startWorker(t, crowdApp(t, url), fmt.Sprint("celery@", i), c.work)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	c.end = end
	t.Cleanup(func() { end(); c.wg.Wait() })
	for i := range callers {
		c.wg.Go(func() { c.call(ctx, i) })
	}
	return c
}

func crowdApp(t testing.TB, url string) *rhubarb.App {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	e, err := redisengine.Connect(ctx, url, &redisengine.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() }) //nolint:errcheck // it never fails
	app, err := rhubarb.New(e.Set(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func redisClient(t testing.TB, app *rhubarb.App) rueidis.Client {
	t.Helper()
	return app.Engines().Broker.(*redisengine.Engine).Client()
}

// startWorker runs a worker until the test's end.
func startWorker(t testing.TB, app *rhubarb.App, name string, tasks ...rhubarb.Runnable) {
	t.Helper()
	w, err := worker.New(app, tasks, &worker.Options{Concurrency: 20, Name: name, Grace: time.Second, Logger: quiet, NoControl: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }() // ends in the cleanup
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("worker %s: %v", name, err)
		}
	})
}

func (c *crowd) run(ctx context.Context, j crowdJob) (int, error) {
	id := rhubarb.Current(ctx).ID
	c.mu.Lock()
	c.starts[id] = append(c.starts[id], time.Now())
	c.mu.Unlock()
	if j.N%2 == 0 {
		// What is lost of the output is the handler's matter; here it goes on.
		_ = rhubarb.Emit(ctx, j.N)
	}
	select {
	case <-time.After(rand.N(c.hold + 1)):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	return 2 * j.N, nil
}

// patient is how long a caller waits for what must come.
const patient = 90 * time.Second

func (c *crowd) call(ctx context.Context, n int) {
	for ; ctx.Err() == nil; n++ {
		res, err := c.work.Delay(ctx, c.app, crowdJob{n})
		if err != nil {
			c.errors.Add(1)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		c.calls.Add(1)
		c.follow(context.WithoutCancel(ctx), res, n)
	}
}

// follow waits for what was accepted.
func (c *crowd) follow(ctx context.Context, res *rhubarb.Result[int], n int) {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	began := time.Now()
	got, err := res.Get(ctx)
	if err != nil || got != 2*n {
		c.note("task %s: %d, %v; want %d", res.ID(), got, err, 2*n)
	}
	c.mu.Lock()
	c.last, c.worst = time.Now(), max(c.worst, time.Since(began))
	c.mu.Unlock()
	if n%3 != 0 {
		return
	}
	ends := 0
	for rec, err := range res.Stream().Tail(ctx, "") {
		if err != nil {
			c.note("stream of %s: %v", res.ID(), err)
		}
		if rec.Kind == "end" {
			ends++
		}
	}
	if ends != 1 {
		c.note("stream of %s has %d ends", res.ID(), ends)
	}
}

func (c *crowd) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = append(c.bad, fmt.Sprintf(format, args...))
}

// probe waits until a call that is made now has run, and returns how long that
// took.
func (c *crowd) probe() time.Duration {
	c.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(c.t.Context(), patient)
	defer cancel()
	for {
		res, err := c.work.Delay(ctx, c.app, crowdJob{1})
		if err == nil {
			if _, err = res.Get(ctx); err == nil {
				return time.Since(began)
			}
		}
		if ctx.Err() != nil {
			c.t.Fatalf("after %v nothing runs: %v", patient, err)
		}
	}
}

// stop ends the callers once all they called is done, and tells what went wrong:
// what was lost, and what ran more than once though nobody died.
func (c *crowd) stop() {
	c.t.Helper()
	c.end()
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bad[:min(len(c.bad), 5)] {
		c.t.Error(b)
	}
	doubled, again := 0, 0
	for id, starts := range c.starts {
		for i := 1; i < len(starts); i++ {
			if c.lapses && starts[i].Sub(starts[i-1]) > engine.DefaultLease {
				again++
				continue
			}
			if doubled++; doubled < 4 {
				c.t.Errorf("task %s ran %d times: %v", id, len(starts), starts)
			}
		}
	}
	c.t.Logf("%d calls accepted, %d refused; lost or wrong %d, run twice %d, again after a lease %d; longest wait for a result %v",
		c.calls.Load(), c.errors.Load(), len(c.bad), doubled, again, c.worst.Round(time.Millisecond))
	if c.calls.Load() < 20 {
		c.t.Errorf("%d calls were accepted, which proves nothing", c.calls.Load())
	}
}

// spread says what a list of times is like.
func spread(ds []time.Duration) string {
	if len(ds) == 0 {
		return "none"
	}
	s := slices.Clone(ds)
	slices.Sort(s)
	return fmt.Sprintf("p50 %v, max %v", s[len(s)/2].Round(time.Millisecond), s[len(s)-1].Round(time.Millisecond))
}

// lull waits.
func lull(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
