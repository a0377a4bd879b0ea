package worker_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

// BenchmarkBurnDown runs no-op tasks with results that wait in the queue when
// the worker starts: one operation is one task.
func BenchmarkBurnDown(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		e := memengine.New()
		defer e.Close()
		burnDown(b, engine.All(e))
	})
	b.Run("embedded", func(b *testing.B) {
		e, err := embedded.Open(b.Context(), b.TempDir(), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		burnDown(b, engine.All(e))
	})
}

func burnDown(b *testing.B, set engine.Set) {
	app, err := rhubarb.New(set, nil)
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nop := rhubarb.Define("nop", func(context.Context, rhubarb.None) (int, error) {
		if left.Add(-1) == 0 {
			cancel()
		}
		return 1, nil
	})
	for sent := 0; sent < b.N; {
		calls := make([]*rhubarb.Call, min(500, b.N-sent))
		for i := range calls {
			if calls[i], err = nop.Call(rhubarb.None{}); err != nil {
				b.Fatal(err)
			}
		}
		for _, s := range app.Send(ctx, calls...) {
			if s.Err != nil {
				b.Fatal(s.Err)
			}
		}
		sent += len(calls)
	}
	w, err := worker.New(app, []rhubarb.Runnable{nop}, &worker.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	b.ReportAllocs()
	before := cpu(b)
	if err := w.Run(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
