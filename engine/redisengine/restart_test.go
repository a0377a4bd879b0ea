package redisengine_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

// soon is how long all may take to go on when Redis is back.
const soon = 5 * time.Second

// TestRedisIsKilledUnderLoad kills the server and starts it again on the same
// append-only file.
func TestRedisIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := startCrowd(t, s.url(), 16)
	var back []time.Duration
	for i := range rounds(5, 20) {
		lull(t, 300*time.Millisecond)
		s.kill()
		lull(t, time.Duration(i%4)*400*time.Millisecond) // it is away for a moment
		s.start(t)
		back = append(back, c.probe())
	}
	c.stop()
	t.Logf("%d kills of redis-server; a new call was done after its return: %s", len(back), spread(back))
	for _, d := range back {
		if d > soon {
			t.Errorf("after a restart nothing ran for %v, want %v at most", d, soon)
		}
	}
}

// TestRedisForgetsAll restarts a server that stores nothing. What it had is
// lost; what runs at that moment has its result, and all go on.
func TestRedisForgetsAll(t *testing.T) {
	t.Parallel()
	s := startRedis(t, "--appendonly", "no")
	started, goOn := make(chan struct{}, 10), make(chan struct{})
	block := rhubarb.Define("crowd.block", func(ctx context.Context, n int) (int, error) {
		started <- struct{}{}
		select {
		case <-goOn:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		return n, nil
	})
	app := crowdApp(t, s.url())
	startWorker(t, crowdApp(t, s.url()), "celery@one", block)
	var running []*rhubarb.Result[int]
	for i := range 5 {
		res, err := block.Delay(t.Context(), app, i)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, res)
		<-started
	}
	s.restart(t)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	res, err := block.Delay(ctx, app, 7)
	if err != nil {
		t.Fatalf("call after the restart: %v", err)
	}
	<-started
	close(goOn)
	for n, r := range append(running, res) {
		want := []int{0, 1, 2, 3, 4, 7}[n]
		if got, err := r.Get(ctx); err != nil || got != want {
			t.Errorf("result %d: %d, %v; want %d", n, got, err, want)
		}
	}
	if n := len(started); n > 0 {
		t.Errorf("%d tasks were started again", n)
	}
}

// maxLag is how many calls of a caller that waits for each may be on their way
// to the replica, on a busy machine.
const maxLag = 30

// TestAFailoverUnderLoad kills the master that a Sentinel watches. Replication is
// not waited for, so the last moments before it may be lost: calls that were
// accepted in its last second may be missing.
func TestAFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	master, url := startSentinel(t)
	work := rhubarb.Define("crowd.work", func(_ context.Context, n int) (int, error) { return n, nil })
	app := crowdApp(t, url)
	for i := range 2 {
		startWorker(t, crowdApp(t, url), fmt.Sprint("celery@", i), work)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var sent []*rhubarb.Result[int]
	var at []time.Time
	call := func() error {
		res, err := work.Delay(ctx, app, len(sent))
		if err == nil {
			sent, at = append(sent, res), append(at, time.Now())
		}
		return err
	}
	for range 300 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	killed := time.Now()
	master.kill()
	refused := 0
	for ; call() != nil; refused++ {
		if ctx.Err() != nil {
			t.Fatal("no call is accepted after the failover")
		}
	}
	back := time.Since(killed)
	for range 100 {
		if err := call(); err != nil {
			t.Errorf("call after the failover: %v", err)
		}
	}
	lost := 0
	slices.Reverse(sent) // those of the new master come first, the missing last
	slices.Reverse(at)
	wait, stop := context.WithTimeout(ctx, 25*time.Second)
	defer stop()
	for i, res := range sent {
		got, err := res.Get(wait)
		switch {
		case err == nil && got == len(sent)-1-i:
		case at[i].Before(killed.Add(-time.Second)) || at[i].After(killed):
			t.Errorf("call %d, %v before the end of the master: %d, %v", i, killed.Sub(at[i]), got, err)
		default:
			lost++
		}
	}
	if lost > maxLag {
		t.Errorf("%d calls are lost, want at most the %d that replication may be behind", lost, maxLag)
	}
	t.Logf("the first call was accepted %v after the end of the master, %d were refused; %d of %d lost", back.Round(time.Millisecond), refused, lost, len(sent))
}
