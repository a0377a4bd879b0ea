package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// measurement runs one case on one side.
type measurement func(ctx context.Context, s side, o options) ([]measure.Sample, error)

// benchCase is what is measured, with the options that make it.
type benchCase struct {
	name string
	set  func(*options)
	run  measurement
}

var cases = []benchCase{
	{"burn-down, results off", func(o *options) { o.Results = false }, burnDown},
	{"burn-down, results on", func(o *options) { o.Results = true }, burnDown},
	{"enqueue, 1 caller", func(o *options) { o.Callers, o.N = 1, o.N/5 }, enqueue},
	{"enqueue, 64 callers", func(o *options) { o.Callers = 64 }, enqueue},
	{"latency at 1/s", func(o *options) { o.Rate = 1 }, latency},
	{"latency at 1000/s", func(o *options) { o.Rate = 1000; o.For = min(o.For, 10*time.Second) }, latency},
	{"scheduled", func(o *options) { o.N = o.Scheduled }, scheduled},
	{"due at once", func(o *options) { o.N = o.Due }, dueAtOnce},
}

// burnDown fills the queue, then starts a worker and waits until every job
// has run and is settled.
func burnDown(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	if err := s.fill(ctx, jobs(o.N, time.Time{}, 0)); err != nil {
		return nil, err
	}
	pids := append(s.servers(), os.Getpid())
	before, err := measure.CPU(pids...)
	if err != nil {
		return nil, err
	}
	ran, start := newTally(o.N), time.Now()
	stop := startWork(ctx, s, o.Concurrency, func(j job) { ran.add(j.N) })
	if err := ran.settled(ctx, s); err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := measure.CPU(pids...)
	if err != nil {
		return nil, err
	}
	return []measure.Sample{
		measure.More("throughput", "tasks/s", float64(o.N)/took.Seconds()),
		measure.Less("CPU per task, with servers", "µs", float64((after-before).Microseconds())/float64(o.N)),
	}, stop()
}

// enqueue sends jobs one by one from some callers, each waiting for its answer.
func enqueue(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	all, start := jobs(o.N, time.Time{}, 0), time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i := range o.Callers {
		g.Go(func() error {
			for k := i; k < len(all); k += o.Callers {
				if err := s.send(ctx, all[k]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return []measure.Sample{measure.More("throughput", "calls/s", float64(o.N)/time.Since(start).Seconds())}, nil
}

// latency sends at a mean rate with random gaps, so that nothing that polls
// falls in step, and measures from the call to the handler's start. The
// worker has its default settings.
func latency(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	n := o.Rate * int(o.For.Seconds())
	ran, waits := newTally(n+1), make([]time.Duration, n+1)
	stop := startWork(ctx, s, 0, func(j job) {
		waits[j.N] = time.Duration(time.Now().UnixNano() - j.Sent)
		ran.add(j.N)
	})
	send := func(k int) error { return s.send(ctx, job{N: k, Sent: time.Now().UnixNano()}) }
	if err := send(n); err != nil { // the warm-up, not counted
		return nil, err
	}
	if err := ran.reach(ctx, 1); err != nil {
		return nil, err
	}
	var g errgroup.Group
	next := time.Now()
	for k := range n {
		next = next.Add(time.Duration(rand.ExpFloat64() / float64(o.Rate) * float64(time.Second)))
		if err := sleepUntil(ctx, next); err != nil {
			return nil, err
		}
		g.Go(func() error { return send(k) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ran.settled(ctx, s); err != nil {
		return nil, err
	}
	return percentiles("enqueue to start", waits[:n]), stop()
}

// scheduled lets many jobs wait for tomorrow beside an idle worker, looks at
// its memory, and then measures how late a few that fall due soon are started.
func scheduled(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	const soon, spread = 5000, 10 * time.Second
	ran, late := newTally(soon), make([]time.Duration, soon)
	stop := startWork(ctx, s, o.Concurrency, func(j job) {
		late[j.N] = time.Since(j.due())
		ran.add(j.N)
	})
	start := time.Now()
	if err := s.fill(ctx, jobs(o.N, start.Add(24*time.Hour), 0)); err != nil {
		return nil, err
	}
	filled := time.Since(start)
	memory, err := memorySamples(s)
	if err != nil {
		return nil, err
	}
	if err := s.fill(ctx, jobs(soon, time.Now().Add(5*time.Second), spread/soon)); err != nil {
		return nil, err
	}
	if err := ran.settled(ctx, s); err != nil {
		return nil, err
	}
	early := 0
	for _, d := range late {
		if d < 0 {
			early++
		}
	}
	out := append(memory,
		measure.More("filling", "tasks/s", float64(o.N)/filled.Seconds()),
		measure.Less("started early", "%", 100*float64(early)/soon))
	return append(out, percentiles("late", late)...), stop()
}

// dueAtOnce schedules jobs for one instant and measures how long after it the
// last one is settled.
func dueAtOnce(ctx context.Context, s side, o options) ([]measure.Sample, error) {
	due := time.Now().Add(5*time.Second + time.Duration(o.N)*time.Second/4000)
	if err := s.fill(ctx, jobs(o.N, due, 0)); err != nil {
		return nil, err
	}
	if time.Now().After(due) {
		return nil, fmt.Errorf("filling took longer than the %v allowed", time.Since(due))
	}
	ran := newTally(o.N)
	var early atomic.Int64
	stop := startWork(ctx, s, o.Concurrency, func(j job) {
		if time.Now().Before(due) {
			early.Add(1)
		}
		ran.add(j.N)
	})
	if err := ran.settled(ctx, s); err != nil {
		return nil, err
	}
	return []measure.Sample{
		measure.Less("all done after due", "s", time.Since(due).Seconds()),
		measure.Less("started early", "%", 100*float64(early.Load())/float64(o.N)),
	}, stop()
}

// jobs makes n jobs; if at is set they fall due from then on, a gap apart.
func jobs(n int, at time.Time, gap time.Duration) []job {
	out := make([]job, n)
	for i := range out {
		out[i].N = i
		if !at.IsZero() {
			out[i].Due = at.Add(time.Duration(i) * gap).UnixNano()
		}
	}
	return out
}

// startWork runs a worker until stop is called.
func startWork(ctx context.Context, s side, concurrency int, handle func(job)) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var (
		wg  sync.WaitGroup
		err error
	)
	wg.Go(func() { err = s.work(ctx, concurrency, handle) })
	return func() error {
		cancel()
		wg.Wait()
		return err
	}
}

func percentiles(what string, ds []time.Duration) []measure.Sample {
	slices.Sort(ds)
	at := func(p int) float64 { return float64(ds[min(len(ds)-1, len(ds)*p/100)].Microseconds()) / 1000 }
	return []measure.Sample{
		measure.Less(what+", p50", "ms", at(50)),
		measure.Less(what+", p99", "ms", at(99)),
		measure.Less(what+", most", "ms", at(100)),
	}
}

func memorySamples(s side) ([]measure.Sample, error) {
	debug.FreeOSMemory() // what filling left behind is not the worker's
	worker, err := measure.RSS(os.Getpid())
	if err != nil {
		return nil, err
	}
	all := worker
	for _, pid := range s.servers() {
		n, err := measure.RSS(pid)
		if err != nil {
			return nil, err
		}
		all += n
	}
	return []measure.Sample{
		measure.Less("RSS of the worker's process", "MB", float64(worker)/1e6),
		measure.Less("RSS with servers", "MB", float64(all)/1e6),
	}, nil
}
