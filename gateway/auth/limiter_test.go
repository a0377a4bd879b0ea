package auth_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

func TestLimiterCountsPerUser(t *testing.T) {
	l := auth.NewLimiter(2)
	first, ok := l.Enter("ada")
	if !ok {
		t.Fatal("the first connection is refused")
	}
	if _, ok := l.Enter("ada"); !ok {
		t.Fatal("the second connection is refused")
	}
	leave, ok := l.Enter("ada")
	if ok {
		t.Fatal("the third connection is let in")
	}
	leave() // of one that was not let in: does nothing
	if _, ok := l.Enter("ada"); ok {
		t.Fatal("who was refused made room")
	}
	if _, ok := l.Enter("bob"); !ok {
		t.Fatal("another user is refused")
	}
	first()
	first() // does nothing
	if _, ok := l.Enter("ada"); !ok {
		t.Fatal("there is no room after one left")
	}
	if _, ok := l.Enter("ada"); ok {
		t.Fatal("one who leaves twice makes room for two")
	}
}

func TestLimiterWithoutLimit(t *testing.T) {
	for _, max := range []int{0, -1} {
		l := auth.NewLimiter(max)
		for range 1000 {
			if _, ok := l.Enter("ada"); !ok {
				t.Fatalf("a limiter to %d refuses", max)
			}
		}
	}
}

func TestKick(t *testing.T) {
	l := auth.NewLimiter(0)
	var ended []string
	end := func(name string) func(string) {
		return func(reason string) { ended = append(ended, name+": "+reason) }
	}
	l.Register("ada", end("one"))
	unregister := l.Register("ada", end("two"))
	gone := l.Register("ada", end("three"))
	l.Register("bob", end("four"))
	gone()
	gone()

	if n := l.Kick("ada", "out"); n != 2 {
		t.Errorf("%d connections were ended, want 2", n)
	}
	slices.Sort(ended)
	if want := []string{"one: out", "two: out"}; !slices.Equal(ended, want) {
		t.Errorf("ended %q, want %q", ended, want)
	}
	unregister()
	if n := l.Kick("ada", "again"); n != 0 {
		t.Errorf("%d connections were ended twice", n)
	}
	if n := l.Kick("nobody", "out"); n != 0 {
		t.Errorf("%d connections of nobody were ended", n)
	}
}

func TestKickedConnectionMayUnregister(t *testing.T) {
	l := auth.NewLimiter(1)
	leave, _ := l.Enter("ada")
	var unregister func()
	unregister = l.Register("ada", func(string) {
		unregister()
		leave()
	})
	if n := l.Kick("ada", "out"); n != 1 {
		t.Errorf("%d connections were ended, want 1", n)
	}
	if _, ok := l.Enter("ada"); !ok {
		t.Error("the user cannot come back")
	}
}

func TestLimiterFromManyGoroutines(t *testing.T) {
	const max = 5
	l := auth.NewLimiter(max)
	var now, most, ended atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			leave, ok := l.Enter("ada")
			if !ok {
				return
			}
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			unregister := l.Register("ada", func(string) { ended.Add(1) })
			l.Kick("ada", "out")
			unregister()
			now.Add(-1)
			leave()
		})
	}
	wg.Wait()
	if n := most.Load(); n > max {
		t.Errorf("%d connections at once, want at most %d", n, max)
	}
	for range max {
		if _, ok := l.Enter("ada"); !ok {
			t.Fatal("someone never left")
		}
	}
}
