package stream_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// follower is a reader that comes and goes, and checks that what it was given
// is whole, or that it was told where it is not.
type follower struct {
	pos     engine.Position
	attempt int
	n       uint64
	told    bool // a gap was the last thing it got
	ended   bool
}

func (f *follower) take(t *rapid.T, wrote map[string]string, r engine.Record) {
	if f.ended {
		t.Fatalf("%s after the end", line(r))
	}
	f.pos = r.Pos
	switch {
	case r.Kind == engine.KindGap:
		f.told = true
		return
	case r.Kind == engine.KindReset:
		if r.Attempt != f.attempt+1 && !f.told {
			t.Fatalf("%s after attempt %d", line(r), f.attempt)
		}
	case r.Attempt != f.attempt && !f.told:
		t.Fatalf("%s without its reset, and no gap", line(r))
	case r.Attempt == f.attempt && r.N != f.n+1 && !f.told:
		t.Fatalf("%s after %d.%d, and no gap", line(r), f.attempt, f.n)
	}
	if want := wrote[fmt.Sprint(r.Attempt, ".", r.N)]; r.Kind == engine.KindData && string(r.Payload) != want {
		t.Fatalf("%s, but %q was written there", line(r), want)
	}
	f.attempt, f.n, f.told = r.Attempt, r.N, false
	f.ended = r.Kind == engine.KindEnd
}

// site is a stream, who writes it, and who reads it.
type site struct {
	eng     *memengine.Engine
	s       *stream.Stream
	w       *stream.Writer
	keep    engine.Retention
	attempt int
	n       uint64
	wrote   map[string]string // by attempt and number
	readers []*follower
}

func (x *site) begin(t *rapid.T) {
	w, err := stream.Begin(t.Context(), x.eng, "s", &stream.Options{Retention: x.keep})
	if err != nil {
		t.Fatal(err)
	}
	x.w, x.attempt, x.n = w, x.attempt+1, 0
}

func (x *site) write(t *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(t, "records") {
		x.n++
		payload := fmt.Sprint(x.attempt, " ", x.n)
		x.wrote[fmt.Sprint(x.attempt, ".", x.n)] = payload
		if err := x.w.Append(t.Context(), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

// attach lets a reader take a part of what is there, or forget its place.
func (x *site) attach(t *rapid.T) {
	f := x.readers[rapid.IntRange(0, len(x.readers)-1).Draw(t, "reader")]
	switch rapid.IntRange(0, 9).Draw(t, "how") {
	case 0:
		*f = follower{}
	case 1:
		*f = follower{pos: engine.Position(rapid.SampledFrom([]string{"garbage", "-1", "0000-0000000000001-1-1"}).Draw(t, "position"))}
	}
	if f.ended {
		return
	}
	lost := f.pos != "" && (f.attempt == 0)
	recs, err := x.s.Read(t.Context(), f.pos, rapid.IntRange(1, 8).Draw(t, "max"))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range recs {
		if i == 0 && lost && !f.told && r.Kind != engine.KindGap {
			t.Fatalf("the position %q was taken for good", f.pos)
		}
		f.take(t, x.wrote, r)
	}
}

func TestEveryReaderGetsAllOrIsToldOfAGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &site{eng: memengine.New(), wrote: map[string]string{}}
		defer x.eng.Close()
		x.s = stream.Open(x.eng, "s")
		x.keep = engine.Retention{Count: rapid.IntRange(1, 12).Draw(t, "kept")}
		for range 3 {
			x.readers = append(x.readers, &follower{})
		}
		x.begin(t)
		t.Repeat(map[string]func(*rapid.T){
			"crash":  x.begin,
			"write":  x.write,
			"attach": x.attach,
		})
		if err := x.w.End(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, f := range x.readers {
			for r, err := range x.s.Tail(t.Context(), f.pos) {
				if err != nil {
					t.Fatal(err)
				}
				f.take(t, x.wrote, r)
			}
			if !f.ended {
				t.Fatalf("a reader at %q did not see the end", f.pos)
			}
		}
	})
}
