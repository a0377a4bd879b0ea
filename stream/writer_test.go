package stream_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/stream"
)

func TestALaterWriterFencesTheFormer(t *testing.T) {
	eng := open(t)
	old := begin(t, eng, "s", engine.Retention{})
	write(t, old, "a")
	now := begin(t, eng, "s", engine.Retention{})
	for what, err := range map[string]error{
		"append":   old.Append(t.Context(), []byte("x")),
		"progress": old.Progress(t.Context(), []byte("x")),
		"end":      old.End(t.Context(), nil),
	} {
		if !errors.Is(err, engine.ErrSuperseded) {
			t.Errorf("%s by the old writer: got %v, want ErrSuperseded", what, err)
		}
	}
	write(t, now, "b")
	end(t, now)
	if err := now.End(t.Context(), nil); !errors.Is(err, engine.ErrSuperseded) {
		t.Errorf("a second end: got %v, want ErrSuperseded", err)
	}
	if _, err := stream.Begin(t.Context(), eng, "s", nil); !errors.Is(err, engine.ErrEnded) {
		t.Errorf("begin after the end: got %v, want ErrEnded", err)
	}
	expect(t, "stream", tail(t, stream.Open(eng, "s"), ""), "reset 1.0 ", "data 1.1 a", "reset 2.0 ", "data 2.1 b", "end 2.2 over")
}

func TestRacingWritersLeaveAReadableStream(t *testing.T) {
	eng := open(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				w2, err := stream.Begin(t.Context(), eng, "s", nil)
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					if err := w2.Append(t.Context(), fmt.Append(nil, w, i)); err != nil && !errors.Is(err, engine.ErrSuperseded) {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	end(t, begin(t, eng, "s", engine.Retention{}))
	attempt, n := 0, uint64(0)
	for _, r := range tail(t, stream.Open(eng, "s"), "") {
		switch {
		case r.Kind == engine.KindGap:
			t.Fatalf("a gap where nothing is missing: %s", line(r))
		case r.Kind == engine.KindReset && r.Attempt == attempt+1:
			attempt, n = r.Attempt, 0
		case r.Attempt != attempt || r.N != n+1:
			t.Fatalf("%s after %d.%d", line(r), attempt, n)
		default:
			n = r.N
		}
	}
	if attempt != 81 {
		t.Errorf("the last attempt is %d, want 81", attempt)
	}
}

func TestAWriterMayBeShared(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if err := w.Append(t.Context(), fmt.Append(nil, i), fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	end(t, w)
	all := tail(t, stream.Open(eng, "s"), "")
	if len(all) != 802 {
		t.Fatalf("got %d records, want 802", len(all))
	}
	for i := 1; i < 801; i += 2 {
		if string(all[i].Payload) != string(all[i+1].Payload) {
			t.Fatalf("records %d and %d of one call are %s and %s", i, i+1, all[i].Payload, all[i+1].Payload)
		}
	}
}

func TestLimitsOfAWriter(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{})
	if err := w.Append(t.Context()); err != nil {
		t.Errorf("an append of nothing: %v", err)
	}
	if err := w.Append(t.Context(), make([]byte, engine.MaxRecord+1)); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("a huge record: got %v, want ErrLimit", err)
	}
	if _, err := stream.Begin(t.Context(), eng, "", nil); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("no name: got %v, want ErrLimit", err)
	}
}

func TestAnEndedStreamIsKeptForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t)
		w, err := stream.Begin(t.Context(), eng, "s", &stream.Options{Keep: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		end(t, w)
		s := stream.Open(eng, "s")
		time.Sleep(time.Hour - 1)
		expect(t, "within the hour", read(t, s, ""), "reset 1.0 ", "end 1.1 over")
		at := read(t, s, "")[1].Pos
		time.Sleep(time.Second)
		expect(t, "after it", read(t, s, ""))
		expect(t, "after it, from a position", read(t, s, at), `gap 0.0 {"reason":"position"}`)
	})
}
