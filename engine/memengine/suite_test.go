package memengine_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/enginetest"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

func open(t testing.TB) engine.Set {
	e := memengine.New()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return engine.All(e)
}

// reopen: all who share the memory share the engine.
func reopen(_ testing.TB, s engine.Set) engine.Set { return s }

var under = enginetest.Engine{Open: open, Reopen: reopen, Has: []string{"ping", "unified", "layer", "reopen"}}

func TestInFakeTime(t *testing.T) {
	e := under
	e.Bubble = true
	e.Run(t)
}

// TestInRealTime runs what races rather than waits.
func TestInRealTime(t *testing.T) {
	t.Run("Streams", enginetest.Streams(under).Run)
	t.Run("Results", enginetest.Results(under).Run)
}
