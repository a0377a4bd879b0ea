package sse_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/stream"
)

// log is a stream and a handler of it.
type log struct {
	t     *testing.T
	eng   *memengine.Engine
	s     *stream.Stream
	w     *stream.Writer
	edge  sse.Server
	stats *sse.Stats
	opts  sse.StreamOptions
}

func newLog(t *testing.T, keep engine.Retention) *log {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() { eng.Close() })
	l := &log{t: t, eng: eng, s: stream.Open(eng, "s")}
	l.stats = l.edge.Stats()
	l.opts = sse.StreamOptions{Options: sse.Options{Server: &l.edge}, Logger: slog.New(slog.DiscardHandler)}
	w, err := stream.Begin(t.Context(), eng, "s", &stream.Options{Retention: keep})
	if err != nil {
		t.Fatal(err)
	}
	l.w = w
	return l
}

func (l *log) ServeHTTP(w http.ResponseWriter, r *http.Request) { sse.ServeStream(w, r, l.s, &l.opts) }

func (l *log) write(payloads ...string) {
	l.t.Helper()
	for _, p := range payloads {
		if err := l.w.Append(l.t.Context(), []byte(p)); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *log) end() {
	l.t.Helper()
	if err := l.w.End(l.t.Context(), []byte(`"over"`)); err != nil {
		l.t.Fatal(err)
	}
}

// show is an event as "type data".
func show(all []sse.Event) (out []string) {
	for _, e := range all {
		out = append(out, strings.TrimSpace(e.Type+" "+e.Data))
	}
	return out
}

func TestAStreamIsServedAndGoneOnWithFromAnyEvent(t *testing.T) {
	l := newLog(t, engine.Retention{})
	l.write(`"a"`, "two\nlines")
	if err := l.w.Progress(t.Context(), []byte(`{"current": 1}`)); err != nil {
		t.Fatal(err)
	}
	l.write("")
	l.end()
	want := []string{`reset {"attempt":1}`, `"a"`, "two\nlines", `progress {"current": 1}`, "message", `end "over"`}
	onBoth(t, l, func(s *site) {
		all := s.events(s.get("/"))
		if !slices.Equal(show(all), want) {
			s.t.Fatalf("got %q, want %q", show(all), want)
		}
		for i, e := range all {
			if e.ID == "" {
				s.t.Errorf("event %d has no id", i)
			}
			if strings.Trim(e.ID, "0123456789abcdef-") != "" || len(e.ID) > sse.MaxID {
				s.t.Errorf("id %q would need a preflight", e.ID)
			}
			for how, res := range map[string]*http.Response{
				"header":       s.get("/", "Last-Event-ID", e.ID),
				"last_event":   s.get("/?last_event_id=" + e.ID),
				"lastEventId":  s.get("/?lastEventId=" + e.ID),
				"capitals":     s.get("/?Last-Event-ID=" + e.ID),
				"offset":       s.get("/?offset=" + e.ID),
				"header wins":  s.get("/?last_event_id="+all[0].ID, "Last-Event-ID", e.ID),
				"header is ok": s.get("/?last_event_id=garbage", "Last-Event-ID", e.ID),
			} {
				if i == len(all)-1 {
					if res.StatusCode != 204 {
						s.t.Errorf("after the end by %s: got %s, want 204", how, res.Status)
					}
					continue
				}
				if got := s.events(res); !slices.Equal(got, all[i+1:]) {
					s.t.Errorf("after event %d by %s: got %q, want %q", i, how, show(got), want[i+1:])
				}
			}
		}
	})
}

func TestEveryKindOfRecordIsAnEvent(t *testing.T) {
	for _, kind := range []engine.Kind{engine.KindProgress, engine.KindState, engine.KindReset, engine.KindGap, engine.KindEnd} {
		e := sse.EventOf(engine.Record{Pos: "1", Attempt: 2, Kind: kind})
		if e.Type != string(kind) || e.Data == "" || e.ID != "1" {
			t.Errorf("%s: got %+v, want its type and some data to parse", kind, e)
		}
	}
	if e := sse.EventOf(engine.Record{Kind: engine.KindData, Payload: []byte("x")}); e.Type != "" || e.Data != "x" {
		t.Errorf("data: got %+v, want a message", e)
	}
}

func TestACursorThatIsLostIsOneGapAndAHeader(t *testing.T) {
	l := newLog(t, engine.Retention{Count: 2})
	l.write("1")
	at, err := l.s.Read(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	l.write("2", "3", "4", "5")
	l.end()
	rest := []string{"4", "5", `end "over"`}
	onBoth(t, l, func(s *site) {
		for _, id := range []string{"garbage", "-1", strings.Repeat("x", 5000), "0000-0000000000001-1-1", "a b%00"} {
			res := s.get("/", "Last-Event-ID", id)
			want := append([]string{`gap {"reason":"position"}`, `reset {"attempt":1}`, `gap {"missing":3,"reason":"retention"}`}, rest...)
			if got := show(s.events(res)); !slices.Equal(got, want) || res.Header.Get(sse.GapHeader) != "position" {
				s.t.Errorf("after %.30q: got %q, header %q", id, got, res.Header.Get(sse.GapHeader))
			}
		}
		res := s.get("/", "Last-Event-ID", string(at[1].Pos))
		if got := show(s.events(res)); !slices.Equal(got, append([]string{`gap {"missing":2,"reason":"retention"}`}, rest...)) {
			s.t.Errorf("after 1: got %q", got)
		}
	})
	if n := l.stats.Gaps.Load(); n != 3*11 {
		t.Errorf("%d gaps are counted, want 22", n)
	}
}

func TestReadersThatComeWhileItIsWrittenMissNothingAndGetNothingTwice(t *testing.T) {
	l := newLog(t, engine.Retention{})
	const n = 300
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range n {
			if err := l.w.Append(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Error(err)
			}
		}
		if err := l.w.End(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
	onBoth(t, l, func(s *site) {
		var readers sync.WaitGroup
		for range 10 {
			res := s.get("/")
			readers.Go(func() {
				got := show(s.events(res))
				if len(got) != n+2 {
					s.t.Errorf("got %d events, want %d", len(got), n+2)
					return
				}
				for i := range n {
					if got[i+1] != fmt.Sprint(i) {
						s.t.Errorf("event %d is %q", i, got[i+1])
						return
					}
				}
			})
		}
		readers.Wait()
	})
}

func TestAClientThatComesAndGoesGetsEachEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, engine.Retention{})
		l.opts.MaxAge = 5 * time.Second // it is cut again and again
		_, client := inBubble(t, l)
		go func() {
			for i := range 40 {
				time.Sleep(time.Second)
				l.write(fmt.Sprint(i))
			}
			l.end()
		}()
		req, err := http.NewRequest("GET", "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		var all []sse.Event
		for e, err := range sse.Subscribe(t.Context(), req, &sse.ClientOptions{Client: client}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		got := show(all)
		for i := range 40 {
			if len(got) != 42 || got[i+1] != fmt.Sprint(i) {
				t.Fatalf("got %q, want reset, 0 to 39 and the end", got)
			}
		}
		if n := l.stats.Expired.Load(); n < 3 || l.stats.AtEnd.Load() != 1 || l.stats.Ended.Load() != 1 || l.stats.Open.Load() != 0 {
			t.Errorf("%d expired, %d at the end, %d ended, %d open", n, l.stats.AtEnd.Load(), l.stats.Ended.Load(), l.stats.Open.Load())
		}
	})
}

func TestASlowClientIsClosedAndCountedAndCostsBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, engine.Retention{Count: 1 << 20, Bytes: 1 << 30})
		l.opts.WriteTimeout = 3 * time.Second
		p, _ := inBubble(t, l)
		raw(t, p, "/")
		for range 100 { // it never waits for the client
			l.write(strings.Repeat("x", 100_000))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := l.stats.Slow.Load(); n != 1 || l.stats.Open.Load() != 0 {
			t.Errorf("%d are counted as slow, %d are open, want 1 and none", n, l.stats.Open.Load())
		}
		if sent := l.stats.Bytes.Load(); sent > 200_000 {
			t.Errorf("%d bytes were taken as sent", sent)
		}
	})
}

func TestAClientThatIsBehindGetsRecordsMerged(t *testing.T) {
	l := newLog(t, engine.Retention{})
	l.opts.Merge = &stream.Merger{Join: stream.JoinJSON}
	for i := range 100 {
		l.write(fmt.Sprintf("%q", fmt.Sprint(i, " ")))
	}
	l.end()
	onBoth(t, l, func(s *site) {
		all := s.events(s.get("/"))
		if len(all) != 3 || !strings.HasPrefix(all[1].Data, `"0 1 2 `) || !strings.HasSuffix(all[1].Data, `99 "`) {
			s.t.Fatalf("got %q", show(all))
		}
		if rest := s.events(s.get("/", "Last-Event-ID", all[1].ID)); len(rest) != 1 || rest[0].Type != "end" {
			s.t.Errorf("after the merged one: got %q, want the end", show(rest))
		}
	})
	if n := l.opts.Merge.Stats().Merged; n != 3*99 {
		t.Errorf("%d are counted as merged, want 198", n)
	}
}

func TestAnEngineThatFailsIsARetryAndALogLine(t *testing.T) {
	var out bytes.Buffer
	l := newLog(t, engine.Retention{})
	l.opts.Logger = slog.New(slog.NewTextHandler(&out, nil))
	if err := l.eng.Close(); err != nil {
		t.Fatal(err)
	}
	onBoth(t, l, func(s *site) {
		for _, id := range []string{"", "garbage"} {
			res := s.get("/", "Last-Event-ID", id)
			text, err := io.ReadAll(res.Body)
			if res.StatusCode != 200 || err != nil || !strings.Contains(string(text), "retry: ") {
				s.t.Errorf("got %s, %q, %v, want a stream with a retry", res.Status, text, err)
			}
		}
	})
	if l.stats.Failed.Load() != 6 || !strings.Contains(out.String(), "engine is closed") {
		t.Errorf("%d are counted, log:\n%s", l.stats.Failed.Load(), &out)
	}
}

// stuck is an engine whose reads never answer: a partition.
type stuck struct{ engine.Streams }

func (stuck) Read(ctx context.Context, _ string, _ engine.Position, _ int) ([]engine.Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Tail(ctx context.Context, _ string, _ engine.Position) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}

func TestHeadersDoNotWaitForAnEngineThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, engine.Retention{})
		l.s = stream.Open(stuck{l.eng}, "s")
		p, _ := inBubble(t, l)
		start := time.Now()
		_, r := raw(t, p, "/?last_event_id="+string(engine.Cursor{Offset: 7, Attempt: 1, N: 3}.Position("s")))
		if line, err := r.ReadString('\n'); err != nil || line != ":\n" || time.Since(start) > 500*time.Millisecond {
			t.Errorf("got %q, %v after %v", line, err, time.Since(start))
		}
		start = time.Now()
		if _, r = raw(t, p, "/"); time.Since(start) != 0 {
			t.Errorf("without a position the headers came after %v, want at once", time.Since(start))
		}
		if line, err := r.ReadString('\n'); err != nil || line != ":\n" || time.Since(start) != 0 {
			t.Errorf("got %q, %v after %v", line, err, time.Since(start))
		}
	})
}

func TestRefusedRequestsAreCounted(t *testing.T) {
	var out bytes.Buffer
	l := newLog(t, engine.Retention{})
	l.opts.Logger = slog.New(slog.NewTextHandler(&out, nil))
	l.edge.Close(t.Context(), 0)
	for _, headers := range [][]string{{"Origin", "https://evil.example"}, {"Accept", "image/png"}, nil} {
		rec, req := recorder("GET", "/", headers...)
		l.ServeHTTP(rec, req)
	}
	for _, method := range []string{"HEAD", "OPTIONS"} {
		rec, req := recorder(method, "/")
		l.ServeHTTP(rec, req)
	}
	rec, req := recorder("GET", "/")
	l.ServeHTTP(deaf{rec}, req)
	if l.stats.Refused.Load() != 2 || l.stats.Busy.Load() != 1 || l.stats.Opened.Load() != 0 {
		t.Errorf("%d refused, %d busy, %d opened, want 2, 1 and 0", l.stats.Refused.Load(), l.stats.Busy.Load(), l.stats.Opened.Load())
	}
	if !strings.Contains(out.String(), "Unwrap") {
		t.Errorf("middleware that cannot be flushed is not logged: %s", &out)
	}
}

func TestADrainedStreamIsGoneOnWithElsewhere(t *testing.T) {
	l := newLog(t, engine.Retention{})
	l.write("a")
	onBoth(t, l, func(s *site) {
		edge := &sse.Server{}
		l.opts.Server = edge
		r := sse.NewReader(s.get("/").Body, nil)
		for range 2 {
			if _, err := r.Next(); err != nil {
				s.t.Fatal(err)
			}
		}
		var drained sync.WaitGroup
		defer drained.Wait()
		drained.Go(func() { edge.Close(s.t.Context(), 0) })
		if _, err := r.Next(); err != io.EOF || r.Retry() < time.Second {
			s.t.Errorf("got %v, retry %v, want a clean end and a retry", err, r.Retry())
		}
		s.client.CloseIdleConnections()
		drained.Wait()
		if n := edge.Stats().Drained.Load(); n != 1 {
			t.Errorf("%d are counted as drained, want 1", n)
		}
	})
	l.end()
}
