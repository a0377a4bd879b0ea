package embedded_test

import (
	"sync"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/engine/enginetest"
)

// TestEngine runs the suite, each case in a directory of its own; a second
// process is a second Open, which finds the lock held and joins.
func TestEngine(t *testing.T) {
	var mu sync.Mutex
	dirs := map[engine.Broker]string{}
	add := func(t testing.TB, dir string) engine.Set {
		e := open(t, dir, nil)
		mu.Lock()
		defer mu.Unlock()
		dirs[e] = dir
		return engine.All(e)
	}
	enginetest.Engine{
		Open: func(t testing.TB) engine.Set { return add(t, t.TempDir()) },
		Reopen: func(t testing.TB, s engine.Set) engine.Set {
			mu.Lock()
			dir := dirs[s.Broker]
			mu.Unlock()
			return add(t, dir)
		},
		Has: []string{"ping", "unified", "layer", "reopen"},
	}.Run(t)
}

func BenchmarkBroker(b *testing.B)  { enginetest.BenchmarkBroker(b, openBench) }
func BenchmarkResults(b *testing.B) { enginetest.BenchmarkResults(b, openBench) }
func BenchmarkStreams(b *testing.B) { enginetest.BenchmarkStreams(b, openBench) }
func BenchmarkLocks(b *testing.B)   { enginetest.BenchmarkLocks(b, openBench) }
func BenchmarkLayer(b *testing.B)   { enginetest.BenchmarkLayer(b, openBench) }

func openBench(t testing.TB) engine.Set { return engine.All(open(t, t.TempDir(), nil)) }

func open(t testing.TB, dir string, opts *embedded.Options) *embedded.Engine {
	t.Helper()
	e, err := embedded.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}
