package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// TestWhatWasWrittenIsSynced counts the files that are synced: none without a
// write, and never the old ones of a stream again.
func TestWhatWasWrittenIsSynced(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(t.Context(), dir, &Options{SyncAlways: true, Logger: slog.New(slog.DiscardHandler)}) // so that nobody else syncs
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	publish := func(id string) {
		t.Helper()
		p := engine.Publication{Message: engine.Message{ID: id, Task: "x", Body: []byte("[[],{},{}]")}, Queue: "q"}
		if err := e.Publish(t.Context(), []engine.Publication{p})[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	s := newSyncer(filepath.Join(dir, dirStore))
	publish("a")
	if n := synced(t, s); n == 0 {
		t.Error("the first look synced nothing")
	}
	for range 100 { // directories that are new are looked at again
		if synced(t, s) == 0 {
			break
		}
		<-time.After(coarse / 2)
	}
	for range 3 {
		if n := synced(t, s); n != 0 {
			t.Errorf("%d files were synced, and nothing was written", n)
		}
	}
	publish("b")
	if n := synced(t, s); n != 1 {
		t.Errorf("%d files were synced after a write to one", n)
	}
}

func synced(t *testing.T, s *syncer) int {
	t.Helper()
	n, err := s.sync()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSyncFollowsTheBlocks(t *testing.T) {
	store := t.TempDir()
	s := newSyncer(store)
	msgs := filepath.Join(s.dir, "RB_TASKS", "msgs")
	if n := synced(t, s); n != 0 {
		t.Errorf("%d files were synced where there are none", n)
	}
	if err := os.MkdirAll(msgs, 0o700); err != nil {
		t.Fatal(err)
	}
	grow := func(n int) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(msgs, fmt.Sprint(n, ".blk")), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now().Add(-time.Hour)
	for i, step := range []struct {
		what string
		do   func()
		want int // the directory counts as one
	}{
		{"ten blocks", func() {
			for n := range 10 {
				grow(n + 1)
			}
		}, 11},
		{"nothing", func() {}, 0},
		{"a write to the last", func() { grow(10) }, 1},
		{"a write to the last and a new one", func() { grow(10); grow(11) }, 3},
		{"a write to that", func() { grow(11) }, 1},
		{"all gone and begun anew", func() {
			for n := range 11 {
				os.Remove(filepath.Join(msgs, fmt.Sprint(n+1, ".blk")))
			}
			grow(1)
		}, 2},
		{"a write to it", func() { grow(1) }, 1},
	} {
		before, err := os.Stat(msgs)
		if err != nil {
			t.Fatal(err)
		}
		step.do()
		if after, err := os.Stat(msgs); err != nil {
			t.Fatal(err)
		} else if i == 0 || !after.ModTime().Equal(before.ModTime()) { // each change a minute after the one before
			at := begin.Add(time.Duration(i) * time.Minute)
			if err := os.Chtimes(msgs, at, at); err != nil {
				t.Fatal(err)
			}
		}
		if n := synced(t, s); n != step.want {
			t.Errorf("%s: %d files were synced, want %d", step.what, n, step.want)
		}
	}
}
