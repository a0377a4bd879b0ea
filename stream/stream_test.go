package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// open returns an engine that is closed with the test.
func open(t *testing.T) *memengine.Engine {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	})
	return eng
}

func begin(t *testing.T, eng engine.Streams, name string, r engine.Retention) *stream.Writer {
	t.Helper()
	w, err := stream.Begin(t.Context(), eng, name, &stream.Options{Retention: r})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// write appends a record per payload.
func write(t *testing.T, w *stream.Writer, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := w.Append(t.Context(), []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

func end(t *testing.T, w *stream.Writer) {
	t.Helper()
	if err := w.End(t.Context(), []byte("over")); err != nil {
		t.Fatal(err)
	}
}

// line shows a record as "kind attempt.n payload".
func line(r engine.Record) string {
	return fmt.Sprintf("%s %d.%d %s", r.Kind, r.Attempt, r.N, r.Payload)
}

func lines(rs []engine.Record) (out []string) {
	for _, r := range rs {
		out = append(out, line(r))
	}
	return out
}

// read returns what is there after a position.
func read(t *testing.T, s *stream.Stream, after engine.Position) []engine.Record {
	t.Helper()
	rs, err := s.Read(t.Context(), after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// tail follows a stream to its end.
func tail(t *testing.T, s *stream.Stream, after engine.Position) (all []engine.Record) {
	t.Helper()
	for r, err := range s.Tail(t.Context(), after) {
		if err != nil {
			t.Errorf("tail after %d records: %v", len(all), err)
			return all
		}
		all = append(all, r)
	}
	return all
}

func expect(t *testing.T, what string, got []engine.Record, want ...string) {
	t.Helper()
	if !slices.Equal(lines(got), want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, lines(got), want)
	}
}

func TestAReaderGetsAllAndGoesOnFromAnyPlace(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "a", "b")
	if err := w.Progress(t.Context(), []byte("1 of 2")); err != nil {
		t.Fatal(err)
	}
	w = begin(t, eng, "s", engine.Retention{})
	write(t, w, "c")
	end(t, w)
	s := stream.Open(eng, "s")
	want := []string{"reset 1.0 ", "data 1.1 a", "data 1.2 b", "progress 1.3 1 of 2", "reset 2.0 ", "data 2.1 c", "end 2.2 over"}
	all := tail(t, s, "")
	expect(t, "tail", all, want...)
	expect(t, "read", read(t, s, ""), want...)
	for i, r := range all {
		expect(t, "tail after "+line(r), tail(t, s, r.Pos), want[i+1:]...)
		expect(t, "read after "+line(r), read(t, s, r.Pos), want[i+1:]...)
	}
	two, err := s.Read(t.Context(), all[1].Pos, 2)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "read of two", two, want[2:4]...)
	if none, err := s.Read(t.Context(), all[1].Pos, 0); err != nil || len(none) != 0 {
		t.Errorf("read of none: got %q, %v", lines(none), err)
	}
}

func TestATailFollowsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t)
		got := make(chan []engine.Record)
		go func() { got <- tail(t, stream.Open(eng, "s"), "") }()
		synctest.Wait() // it waits before there is a stream
		w := begin(t, eng, "s", engine.Retention{})
		for range 3 {
			time.Sleep(time.Hour)
			write(t, w, "x")
		}
		end(t, w)
		expect(t, "live", <-got, "reset 1.0 ", "data 1.1 x", "data 1.2 x", "data 1.3 x", "end 1.4 over")
	})
}

func TestATailEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var last error
		for _, err := range stream.Open(eng, "s").Tail(ctx, "") {
			last = err
		}
		if !errors.Is(last, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", last)
		}
	})
}

func TestAReaderMayStopEarly(t *testing.T) {
	eng := open(t)
	write(t, begin(t, eng, "s", engine.Retention{}), "a", "b")
	for r, err := range stream.Open(eng, "s").Tail(t.Context(), "") {
		if err != nil || r.Kind != engine.KindReset {
			t.Fatalf("got %s, %v", line(r), err)
		}
		break
	}
}

func TestAPositionAtTheEndEndsAtOnce(t *testing.T) {
	eng := open(t)
	end(t, begin(t, eng, "s", engine.Retention{}))
	s := stream.Open(eng, "s")
	all := tail(t, s, "")
	for i, r := range all {
		at, err := s.Attach(t.Context(), r.Pos)
		if err != nil || at.AtEnd() != (i == len(all)-1) {
			t.Errorf("after %s: at the end: %v, %v", line(r), at.AtEnd(), err)
		}
	}
	expect(t, "after the end", tail(t, s, all[len(all)-1].Pos))
}

func TestATaskThatEndedBeforeItBeganHasNoGap(t *testing.T) {
	eng := open(t)
	state := engine.State{ID: "s", Status: engine.Revoked, Record: []byte("revoked")}
	if err := eng.Revoke(t.Context(), []engine.State{state})[0]; err != nil {
		t.Fatal(err)
	}
	s := stream.Open(eng, "s")
	all := tail(t, s, "")
	expect(t, "revoked", all, "end 0.0 revoked")
	if at, err := s.Attach(t.Context(), all[0].Pos); err != nil || !at.AtEnd() {
		t.Errorf("after the only record: not at the end, %v", err)
	}
	expect(t, "after the end", tail(t, s, all[0].Pos))
}

func TestAnEngineThatIsClosedSaysSo(t *testing.T) {
	eng := memengine.New()
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "a")
	s := stream.Open(eng, "s")
	pos := read(t, s, "")[0].Pos
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"append":   w.Append(t.Context(), []byte("b")),
		"progress": w.Progress(t.Context(), nil),
		"end":      w.End(t.Context(), nil),
		"read":     second(s.Read(t.Context(), "", 1)),
		"garbage":  second(s.Read(t.Context(), "garbage", 1)),
		"attach":   second(s.Attach(t.Context(), pos)),
		"begin":    second(stream.Begin(t.Context(), eng, "s", nil)),
	} {
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", what, err)
		}
	}
	for _, after := range []engine.Position{"", pos} {
		for _, err := range s.Tail(t.Context(), after) {
			if !errors.Is(err, engine.ErrClosed) {
				t.Errorf("tail after %q: got %v, want ErrClosed", after, err)
			}
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// gapOf reads a gap record's payload.
func gapOf(t *testing.T, r engine.Record) stream.Gap {
	t.Helper()
	var g stream.Gap
	if r.Kind != engine.KindGap {
		t.Fatalf("got %s, want a gap", line(r))
	}
	if err := json.Unmarshal(r.Payload, &g); err != nil {
		t.Fatal(err)
	}
	return g
}
