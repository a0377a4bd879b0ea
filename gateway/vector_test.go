package gateway

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

var threeSources = []source{{task: "a"}, {group: "a"}, {task: "b"}}

func TestVectorFitsAnIDForTenSources(t *testing.T) {
	var sources []source
	var at vector
	for i := range 10 {
		s := source{task: string(rune('a' + i))}
		sources = append(sources, s)
		at = append(at, engine.Cursor{Offset: 1 << 20, Attempt: 1, N: 5000}.Position(s.name()))
	}
	id, fits := at.id(sources)
	if !fits || len(id) > 128 {
		t.Fatalf("%d bytes: %s", len(id), id)
	}
	if got, err := readVector(id, sources); err != nil || !slices.Equal(got, at) {
		t.Errorf("read %q, %v, want %q", got, err, at)
	}
}

func TestVectorOfOtherSources(t *testing.T) {
	at := vector{engine.Cursor{Offset: 7, Attempt: 1, N: 3}.Position("a"), engine.Cursor{Offset: 9}.Position("a"), ""}
	id, _ := at.id(threeSources)
	fewer := []source{threeSources[1], {task: "new"}}
	if got, err := readVector(id, fewer); err != nil || !slices.Equal(got, vector{at[1], ""}) {
		t.Errorf("read %q, %v", got, err)
	}
}

func FuzzVector(f *testing.F) {
	at := vector{engine.Cursor{Offset: 7, Attempt: 1, N: 3}.Position("a"), engine.Cursor{Offset: 9}.Position("a"), ""}
	id, _ := at.id(threeSources)
	f.Add(id)
	f.Add("v")
	f.Add("vAAAA")
	f.Fuzz(func(t *testing.T, id string) {
		v, err := readVector(id, threeSources)
		if err != nil {
			return
		}
		again, fits := v.id(threeSources)
		if !fits {
			return // numbers may be written shorter than they were, never longer
		}
		got, err := readVector(again, threeSources)
		if err != nil || !slices.Equal(got, v) {
			t.Errorf("%q is %q, and %q then %q, %v", id, v, again, got, err)
		}
	})
}

func FuzzHandleID(f *testing.F) {
	h := handle{name: rand.Text(), batch: 12}
	f.Add(h.id(3))
	f.Add("h..")
	f.Add("h" + h.name + ".+1.01")
	f.Fuzz(func(t *testing.T, id string) {
		name, number, event, ok := parseHandle(id)
		if again := (&handle{name: name, batch: number}).id(event); ok && again != id {
			t.Errorf("%q is written %q", id, again)
		}
	})
}

func FuzzHandle(f *testing.F) {
	f.Add(0, 0, 3)
	f.Fuzz(func(t *testing.T, event, at, sources int) {
		b := batch{Before: make(vector, 3), Steps: []step{{Source: at, At: "x"}, {Source: 1, At: "y"}}}
		v := b.after(event, sources)
		if v != nil && (len(v) != sources || v[at] != "x" && at != 1) {
			t.Errorf("after %d: %q", event, v)
		}
	})
}
