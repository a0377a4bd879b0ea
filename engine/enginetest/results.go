package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var resultsTests = []test{
	{"an unknown task is pending", "as in Celery", "", unknownPending},
	{"a state is kept as it was put", "the record is Celery's JSON, and not ours to touch", "", putKept},
	{"an old run puts nothing", "its progress would go backwards", "", stalePut},
	{"a final state stays", "there is one outcome", "", finalStays},
	{"puts are answered one by one", "a stale one must not stop the others", "", putBatch},
	{"a final state is not put", "it has to end the stream as well", "", finalPut},
	{"a watcher sees the present and what comes", "and ends with the outcome", "", watches},
	{"a watch may come before the task", "a browser may be faster than the worker", "", watchFirst},
	{"a watch ends with its context", "readers go away", "", watchEnds},
	{"every watcher sees the outcome", "however fast it came", "", watchMany},
	{"a forgotten result is gone", "as in Celery", "", forgets},
	{"a state is kept for its time to live", "and not for ever", "", stateExpires},
	{"a state may be kept for ever", "negative means that", "fake", stateForever},
	{"any id and any record", "ids are other people's, records are bytes", "", oddStates},
	{"limits of states are exact", "what one engine keeps every engine keeps", "", stateLimits},
	{"no ids, no states", "callers need no special case", "", noStates},
	{"states survive a kill", "results are data", "restart", statesSurvive},
	{"a watch sees an outcome from elsewhere", "the worker is another process", "reopen", watchElsewhere},
	{"a watch goes on after a cut", "nobody asks twice", "cut", watchOverCut},
}

func put(id, status, record string, f engine.Fence) engine.StatePut {
	return engine.StatePut{State: engine.State{ID: id, Status: status, Record: []byte(record)}, Fence: f}
}

func (c *T) put(puts ...engine.StatePut) {
	c.Helper()
	for i, err := range c.errors(c.Results.Put(c.soon(), puts), len(puts)) {
		if err != nil {
			c.Fatalf("put %s of %q: %v", puts[i].State.Status, puts[i].State.ID, err)
		}
	}
}

// finish ends a task that nobody brokered here.
func (c *T) finish(id, record string) {
	c.Helper()
	if err := c.errors(c.Results.Finish(c.soon(), []engine.StatePut{put(id, engine.Success, record, 0)}), 1)[0]; err != nil {
		c.Fatalf("finish %q: %v", id, err)
	}
}

func unknownPending(c *T) {
	states, err := c.Results.Get(c.soon(), []string{"a", "b", "a"})
	if err != nil || len(states) != 3 {
		c.Fatalf("got %d states, %v", len(states), err)
	}
	for i, id := range []string{"a", "b", "a"} {
		s := states[i]
		if s.ID != id || s.Status != engine.Pending || len(s.Record) != 0 || s.Attempt != 0 {
			c.Errorf("state %d: got %+v, want %s PENDING without a record", i, s, id)
		}
	}
}

func putKept(c *T) {
	f := c.claim("a")
	for i, status := range []string{engine.Progress, "CUSTOM STATE", engine.Progress} {
		record := fmt.Sprintf(`{"status": "%s",   "n":%d, "raw":"é"}`, status, i)
		c.put(put("a", status, record, f))
		s := c.state("a")
		if s.Status != status || string(s.Record) != record {
			c.Errorf("got %s %s, want %s %s", s.Status, s.Record, status, record)
		}
		if age := time.Since(s.Time); age < -slack || age > patience {
			c.Errorf("written %v ago", age)
		}
		if c.Unified() && s.Attempt != 1 {
			c.Errorf("written by attempt %d, want 1", s.Attempt)
		}
	}
}

func stalePut(c *T) {
	f := c.claim("a")
	c.put(put("a", engine.Progress, "1", f))
	if c.Unified() {
		c.want("put with no fence", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", 0)})[0], engine.ErrSuperseded)
		c.want("put with a later fence", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", f+100)})[0], engine.ErrSuperseded)
	} else {
		c.put(put("a", engine.Progress, "1", f+1))
		c.want("put with an old fence", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", f)})[0], engine.ErrSuperseded)
	}
	if s := c.state("a"); string(s.Record) != "1" {
		c.Errorf("a refused state was kept: %+v", s)
	}
}

func finalStays(c *T) {
	c.finish("a", `"first"`)
	c.want("finish again", c.Results.Finish(c.soon(), []engine.StatePut{put("a", engine.Failure, `"second"`, 0)})[0], engine.ErrSuperseded)
	c.want("put after that", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", 7)})[0], engine.ErrSuperseded)
	if s := c.state("a"); s.Status != engine.Success || string(s.Record) != `"first"` {
		c.Errorf("got %+v, want the first outcome", s)
	}
}

func putBatch(c *T) {
	c.finish("done", "1")
	a, b := c.claim("a"), c.claim("b")
	big := put("b", engine.Progress, string(make([]byte, engine.MaxRecord+1)), b)
	errs := c.errors(c.Results.Put(c.soon(), []engine.StatePut{
		put("a", engine.Progress, "1", a), put("done", engine.Progress, "2", 9), big, put("b", engine.Progress, "3", b), put("a", engine.Progress, "4", a),
	}), 5)
	for i, want := range []error{nil, engine.ErrSuperseded, engine.ErrLimit, nil, nil} {
		c.want(fmt.Sprint("put ", i), errs[i], want)
	}
	for id, want := range map[string]string{"a": "4", "b": "3", "done": "1"} {
		if got := string(c.state(id).Record); got != want {
			c.Errorf("state of %s: got %s, want %s", id, got, want)
		}
	}
}

func finalPut(c *T) {
	f := c.claim("a")
	if err := c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Success, "1", f)})[0]; err == nil {
		c.Error("put of SUCCESS was accepted")
	}
	if err := c.Results.Finish(c.soon(), []engine.StatePut{put("x", engine.Progress, "1", 0)})[0]; err == nil {
		c.Error("finish with PROGRESS was accepted")
	}
	if s := c.state("a"); engine.Ready(s.Status) {
		c.Errorf("state after that: %+v", s)
	}
}

// watched follows a task to its end.
func (c *T) watched(ctx context.Context, id string) (states []engine.State, err error) {
	for s, err := range c.Results.Watch(ctx, id) {
		if err != nil {
			return states, err
		}
		states = append(states, s)
	}
	return states, nil
}

func watches(c *T) {
	f := c.claim("a")
	c.put(put("a", engine.Progress, "0", f))
	var got []string
	for s, err := range c.Results.Watch(c.soon(), "a") {
		if err != nil {
			c.Fatalf("watch: %v", err)
		}
		got = append(got, string(s.Record))
		if n := len(got); n < 4 {
			c.put(put("a", engine.Progress, fmt.Sprint(n), f)) // each is seen before the next is put
			continue
		}
		break
	}
	if want := []string{"0", "1", "2", "3"}; !slices.Equal(got, want) {
		c.Errorf("watched %q, want %q", got, want)
	}
	c.finish("b", "done")
	states, err := c.watched(c.soon(), "b")
	if err != nil || len(states) != 1 || states[0].Status != engine.Success || string(states[0].Record) != "done" {
		c.Errorf("watch of a finished task: got %+v, %v, want its outcome alone", states, err)
	}
}

func watchFirst(c *T) {
	first := true
	var last engine.State
	for s, err := range c.Results.Watch(c.soon(), "a") {
		if err != nil {
			c.Fatalf("watch: %v", err)
		}
		if first {
			if s.Status != engine.Pending || s.ID != "a" {
				c.Errorf("first: got %+v, want a PENDING", s)
			}
			c.finish("a", "done")
		}
		first, last = false, s
	}
	if last.Status != engine.Success || string(last.Record) != "done" {
		c.Errorf("last: got %+v, want the outcome", last)
	}
}

func watchEnds(c *T) {
	ctx, cancel := context.WithCancel(c.Context())
	var cancelled time.Time
	var last error
	for _, err := range c.Results.Watch(ctx, "a") {
		if last = err; err == nil {
			cancelled = time.Now()
			cancel()
		}
	}
	cancel()
	if !errors.Is(last, context.Canceled) {
		c.Errorf("the watch ended with %v, want its context's error", last)
	}
	if took := time.Since(cancelled); took > slack {
		c.Errorf("the watch ended %v after its context", took)
	}
}

func watchMany(c *T) {
	const tasks, watchers = 20, 5
	var wg sync.WaitGroup
	started := make(chan struct{}, tasks*watchers)
	for i := range tasks {
		id := fmt.Sprint("t", i)
		for range watchers {
			wg.Go(func() {
				var last engine.State
				once := sync.OnceFunc(func() { started <- struct{}{} })
				for s, err := range c.Results.Watch(c.soon(), id) {
					once()
					if err != nil {
						c.Errorf("watch %s: %v", id, err)
						return
					}
					last = s
				}
				if last.Status != engine.Success || string(last.Record) != id {
					c.Errorf("watch %s: the last state is %+v", id, last)
				}
			})
		}
	}
	for range tasks * watchers / 2 {
		<-started // half of them are there, the others race with the outcome
	}
	for i := range tasks {
		id := fmt.Sprint("t", i)
		c.finish(id, id)
	}
	wg.Wait()
}

func forgets(c *T) {
	c.finish("a", "1")
	c.finish("b", "2")
	if err := c.Results.Forget(c.soon(), []string{"a", "unknown"}); err != nil {
		c.Fatal(err)
	}
	c.status("a", engine.Pending)
	c.status("b", engine.Success)
}

func stateExpires(c *T) {
	p := put("a", engine.Success, "1", 0)
	p.State.TTL = time.Second
	long := put("b", engine.Success, "2", 0)
	long.State.TTL = time.Hour
	for _, err := range c.Results.Finish(c.soon(), []engine.StatePut{p, long}) {
		c.want("finish", err, nil)
	}
	c.status("a", engine.Success)
	c.wait(700 * time.Millisecond)
	c.status("a", engine.Success)
	c.poll(300*time.Millisecond+2*slack, "the state is gone", func() bool { return c.state("a").Status == engine.Pending })
	c.status("b", engine.Success)
}

func stateForever(c *T) {
	for i, ttl := range []time.Duration{0, -1, 48 * time.Hour} {
		p := put(fmt.Sprint("t", i), engine.Success, "1", 0)
		p.State.TTL = ttl
		c.want("finish", c.Results.Finish(c.soon(), []engine.StatePut{p})[0], nil)
	}
	c.wait(engine.DefaultTTL - time.Minute)
	c.status("t0", engine.Success)
	c.wait(2 * time.Minute)
	c.status("t0", engine.Pending)
	c.status("t2", engine.Success)
	c.wait(10 * 365 * 24 * time.Hour)
	c.status("t2", engine.Pending)
	c.status("t1", engine.Success)
}

func oddStates(c *T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, id := range oddities {
		c.finish(id, id+string(every))
	}
	states, err := c.Results.Get(c.soon(), oddities)
	if err != nil || len(states) != len(oddities) {
		c.Fatalf("got %d states, %v", len(states), err)
	}
	for i, s := range states {
		if s.ID != oddities[i] || !bytes.Equal(s.Record, append([]byte(oddities[i]), every...)) {
			c.Errorf("state of %q: got %q with %q", oddities[i], s.ID, s.Record)
		}
	}
}

func stateLimits(c *T) {
	id := strings.Repeat("é", engine.MaxID/2) + "e"
	record := strings.Repeat("r", engine.MaxRecord)
	c.finish(id, record)
	if s := c.state(id); string(s.Record) != record {
		c.Errorf("the largest record came back with %d bytes", len(s.Record))
	}
	for what, p := range map[string]engine.StatePut{
		"id":     put(id+"x", engine.Success, "", 0),
		"record": put("a", engine.Success, record+"x", 0),
	} {
		err := c.Results.Finish(c.soon(), []engine.StatePut{p})[0]
		c.want("too large: "+what, err, engine.ErrLimit)
		if err != nil && !strings.Contains(err.Error(), what) {
			c.Errorf("too large: the error does not say that it is the %s: %v", what, err)
		}
	}
	c.want("no id", c.Results.Finish(c.soon(), []engine.StatePut{put("", engine.Success, "", 0)})[0], engine.ErrLimit)
}

func noStates(c *T) {
	states, err := c.Results.Get(c.soon(), nil)
	n := len(states) + len(c.Results.Put(c.soon(), nil)) + len(c.Results.Finish(c.soon(), nil))
	if n != 0 || err != nil || c.Results.Forget(c.soon(), nil) != nil {
		c.Errorf("empty batches gave %d answers, %v", n, err)
	}
}

func statesSurvive(c *T) {
	f := c.claim("running")
	c.put(put("running", engine.Progress, "half", f))
	for i := range 20 {
		c.finish(fmt.Sprint("t", i), fmt.Sprint(i))
	}
	c = c.on(c.engine.Restart(c.T, c.Set))
	for i := range 20 {
		if s := c.state(fmt.Sprint("t", i)); s.Status != engine.Success || string(s.Record) != fmt.Sprint(i) {
			c.Errorf("after the kill: got %+v", s)
		}
	}
	if s := c.state("running"); s.Status != engine.Progress || string(s.Record) != "half" {
		c.Errorf("after the kill: got %+v, want the progress", s)
	}
	c.want("finish again", c.Results.Finish(c.soon(), []engine.StatePut{put("t0", engine.Failure, "", 0)})[0], engine.ErrSuperseded)
}

func watchElsewhere(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	var last engine.State
	for s, err := range other.Results.Watch(c.soon(), "a") {
		if err != nil {
			c.Fatal(err)
		}
		if last = s; !engine.Ready(s.Status) {
			c.finish("a", "done")
		}
	}
	if string(last.Record) != "done" {
		c.Errorf("the last state is %+v", last)
	}
}

func watchOverCut(c *T) {
	var last engine.State
	for s, err := range c.Results.Watch(c.soon(), "a") {
		if err != nil {
			c.Fatal(err)
		}
		if last = s; engine.Ready(s.Status) {
			continue
		}
		c.engine.Cut(c.T, c.Set)
		c.poll(patience, "the outcome is accepted", func() bool {
			err := c.Results.Finish(c.soon(), []engine.StatePut{put("a", engine.Success, "done", 0)})[0]
			return err == nil || errors.Is(err, engine.ErrSuperseded)
		})
	}
	if string(last.Record) != "done" {
		c.Errorf("the last state is %+v", last)
	}
}
