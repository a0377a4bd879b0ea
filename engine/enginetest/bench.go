package enginetest

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// BenchmarkBroker measures publishing, and taking and settling with a state.
// One operation is one message.
func BenchmarkBroker(b *testing.B, open func(testing.TB) engine.Set) {
	run(b, open, []bench{
		{"publish/single", benchPublish},
		{"publish/64callers", benchPublishCallers},
		{"publish/batch100", benchPublishBatch},
		{"take+settle/single", func(b *testing.B, s engine.Set) { benchTake(b, s, 1) }},
		{"take+settle/batch100", func(b *testing.B, s engine.Set) { benchTake(b, s, 100) }},
		{"publish→take", benchStart},
	})
}

// BenchmarkResults measures final states, where nobody brokered the task here.
// One operation is one state.
func BenchmarkResults(b *testing.B, open func(testing.TB) engine.Set) {
	run(b, open, []bench{
		{"finish/single", func(b *testing.B, s engine.Set) { benchFinish(b, s, 1) }},
		{"finish/batch100", func(b *testing.B, s engine.Set) { benchFinish(b, s, 100) }},
		{"get/single", func(b *testing.B, s engine.Set) { benchGet(b, s, 1) }},
		{"get/batch100", func(b *testing.B, s engine.Set) { benchGet(b, s, 100) }},
		{"finish→watch", benchWatch},
	})
}

// BenchmarkStreams measures records of 100 bytes. One operation is one record.
func BenchmarkStreams(b *testing.B, open func(testing.TB) engine.Set) {
	run(b, open, []bench{
		{"append/single", func(b *testing.B, s engine.Set) { benchAppend(b, s, 1) }},
		{"append/batch100", func(b *testing.B, s engine.Set) { benchAppend(b, s, 100) }},
		{"append/64writers", benchWriters},
		{"read/100of1000", benchRead},
		{"append→tail", benchTail},
	})
}

// BenchmarkLocks measures terms. One operation is one term or one renewal.
func BenchmarkLocks(b *testing.B, open func(testing.TB) engine.Set) {
	run(b, open, []bench{
		{"acquire+release", benchAcquire},
		{"renew", benchRenew},
	})
}

type bench struct {
	name string
	run  func(b *testing.B, s engine.Set)
}

func run(b *testing.B, open func(testing.TB) engine.Set, benches []bench) {
	for _, bb := range benches {
		b.Run(bb.name, func(b *testing.B) {
			s := open(b)
			b.ReportAllocs()
			b.ResetTimer()
			bb.run(b, s)
		})
	}
}

// must fails the benchmark for the first error.
func must(b *testing.B, errs ...error) {
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
}

func accepted(b *testing.B, receipts []engine.Receipt) {
	for _, r := range receipts {
		must(b, r.Err)
	}
}

// numbered makes n messages of some 200 bytes, counted from first.
func numbered(first, n int) []engine.Publication {
	pubs := make([]engine.Publication, n)
	for i := range pubs {
		pubs[i] = msg(fmt.Sprintf("%08x-2fa1-11d2-883f-0016d3cca427", first+i))
		pubs[i].Body = make([]byte, 150)
	}
	return pubs
}

func benchPublish(b *testing.B, s engine.Set) {
	for i := range b.N {
		accepted(b, s.Broker.Publish(b.Context(), numbered(i, 1)))
	}
}

func benchPublishCallers(b *testing.B, s engine.Set) {
	var n atomic.Int64
	b.SetParallelism(callers())
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Broker.Publish(b.Context(), numbered(int(n.Add(1)), 1))[0].Err; err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchPublishBatch(b *testing.B, s engine.Set) {
	for i := 0; i < b.N; i += 100 {
		accepted(b, s.Broker.Publish(b.Context(), numbered(i, min(100, b.N-i))))
	}
}

func receive(b *testing.B, s engine.Set) engine.Receiver {
	r, err := s.Broker.Receive(b.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	must(b, err)
	b.Cleanup(func() { r.Close() })
	return r
}

func benchTake(b *testing.B, s engine.Set, most int) {
	b.StopTimer()
	for i := 0; i < b.N; i += 1000 {
		accepted(b, s.Broker.Publish(b.Context(), numbered(i, min(1000, b.N-i))))
	}
	r := receive(b, s)
	b.StartTimer()
	for n := 0; n < b.N; {
		ds, err := r.Take(b.Context(), most)
		must(b, err)
		ss := make([]engine.Settlement, len(ds))
		for i, d := range ds {
			ss[i] = success(d)
		}
		must(b, r.Settle(b.Context(), ss)...)
		n += len(ds)
	}
}

// benchStart measures from the publish to the take that waited for it.
func benchStart(b *testing.B, s engine.Set) {
	r := receive(b, s)
	taken := make(chan *engine.Delivery)
	go func() {
		defer close(taken)
		for range b.N {
			ds, err := r.Take(b.Context(), 1)
			if err != nil {
				b.Error(err)
				return
			}
			taken <- ds[0]
		}
	}()
	var waited time.Duration
	for i := range b.N {
		began := time.Now()
		accepted(b, s.Broker.Publish(b.Context(), numbered(i, 1)))
		d, ok := <-taken
		if !ok {
			return
		}
		waited += time.Since(began)
		must(b, r.Settle(b.Context(), []engine.Settlement{success(d)})...)
	}
	b.ReportMetric(float64(waited.Nanoseconds())/float64(b.N), "ns/start")
}

func outcomes(first, n int) []engine.StatePut {
	puts := make([]engine.StatePut, n)
	for i := range puts {
		puts[i] = put(fmt.Sprintf("%08x-2fa1-11d2-883f-0016d3cca427", first+i), engine.Success, `{"status":"SUCCESS","result":1}`, 0)
	}
	return puts
}

func benchFinish(b *testing.B, s engine.Set, batch int) {
	for i := 0; i < b.N; i += batch {
		must(b, s.Results.Finish(b.Context(), outcomes(i, min(batch, b.N-i)))...)
	}
}

func benchGet(b *testing.B, s engine.Set, batch int) {
	b.StopTimer()
	puts := outcomes(0, 1000)
	must(b, s.Results.Finish(b.Context(), puts)...)
	ids := make([]string, len(puts))
	for i, p := range puts {
		ids[i] = p.State.ID
	}
	b.StartTimer()
	for i := 0; i < b.N; i += batch {
		at := i % (len(ids) - batch + 1)
		_, err := s.Results.Get(b.Context(), ids[at:at+batch])
		must(b, err)
	}
}

func benchWatch(b *testing.B, s engine.Set) {
	for i := range b.N {
		p := outcomes(i, 1)
		for st, err := range s.Results.Watch(b.Context(), p[0].State.ID) {
			must(b, err)
			if !engine.Ready(st.Status) {
				must(b, s.Results.Finish(b.Context(), p)...)
			}
		}
	}
}

// batchOf is n records of 100 bytes.
func batchOf(stream string, f engine.Fence, n int) []engine.Append {
	a := engine.Append{Stream: stream, Fence: f, Records: make([]engine.Entry, n)}
	for i := range a.Records {
		a.Records[i].Payload = make([]byte, 100)
	}
	return []engine.Append{a}
}

func benchAppend(b *testing.B, s engine.Set, batch int) {
	f, err := s.Streams.Begin(b.Context(), "s")
	must(b, err)
	for i := 0; i < b.N; i += batch {
		must(b, s.Streams.Append(b.Context(), batchOf("s", f, min(batch, b.N-i)))...)
	}
}

func benchWriters(b *testing.B, s engine.Set) {
	var n atomic.Int64
	b.SetParallelism(callers())
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprint("s", n.Add(1))
		f, err := s.Streams.Begin(b.Context(), name)
		for pb.Next() {
			if err == nil {
				err = s.Streams.Append(b.Context(), batchOf(name, f, 1))[0]
			}
		}
		if err != nil {
			b.Error(err)
		}
	})
}

func benchRead(b *testing.B, s engine.Set) {
	b.StopTimer()
	f, err := s.Streams.Begin(b.Context(), "s")
	must(b, err)
	must(b, s.Streams.Append(b.Context(), batchOf("s", f, 1000))...)
	rs, err := s.Streams.Read(b.Context(), "s", "", 500)
	must(b, err)
	from := rs[len(rs)-1].Pos
	b.StartTimer()
	for i := 0; i < b.N; i += 100 {
		rs, err := s.Streams.Read(b.Context(), "s", from, 100)
		must(b, err)
		if len(rs) != 100 {
			b.Fatalf("read %d records, want 100", len(rs))
		}
	}
}

// benchTail appends each record after the one before was seen.
func benchTail(b *testing.B, s engine.Set) {
	f, err := s.Streams.Begin(b.Context(), "s")
	must(b, err)
	seen := 0
	for rs, err := range s.Streams.Tail(b.Context(), "s", "") {
		must(b, err)
		if seen += len(rs); seen > b.N {
			return
		}
		must(b, s.Streams.Append(b.Context(), batchOf("s", f, 1))...)
	}
}

func benchAcquire(b *testing.B, s engine.Set) {
	for range b.N {
		f, err := s.Locks.Acquire(b.Context(), "l", "a", time.Minute)
		must(b, err, s.Locks.Release(b.Context(), "l", f))
	}
}

func benchRenew(b *testing.B, s engine.Set) {
	f, err := s.Locks.Acquire(b.Context(), "l", "a", time.Minute)
	must(b, err)
	for range b.N {
		must(b, s.Locks.Renew(b.Context(), "l", f, time.Minute))
	}
}

// callers is what makes some 64 goroutines of RunParallel's per-CPU ones.
func callers() int { return max(64/runtime.GOMAXPROCS(0), 1) }
