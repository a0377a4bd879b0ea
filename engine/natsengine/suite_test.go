package natsengine_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/enginetest"
)

// TestEngine runs the suite against a nats-server of its own for each case.
func TestEngine(t *testing.T) {
	f := &fixture{servers: map[engine.Broker]*natsServer{}}
	enginetest.Engine{
		Open:   func(t testing.TB) engine.Set { return f.add(t, startNATS(t)) },
		Reopen: func(t testing.TB, s engine.Set) engine.Set { return f.add(t, f.of(s)) },
		Restart: func(t testing.TB, s engine.Set) engine.Set {
			f.of(s).restart(t)
			return s
		},
		Cut: func(t testing.TB, s engine.Set) { f.of(s).proxy.cut() },
		Has: []string{"ping", "unified", "layer", "reopen", "restart", "cut"},
	}.Run(t)
}
