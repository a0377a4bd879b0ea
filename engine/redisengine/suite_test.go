package redisengine_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/enginetest"
)

// TestEngine runs the suite against a redis-server of its own for each case.
func TestEngine(t *testing.T) {
	f := &fixture{servers: map[engine.Broker]*redisServer{}}
	enginetest.Engine{
		Open:   func(t testing.TB) engine.Set { return f.add(t, startRedis(t)) },
		Reopen: func(t testing.TB, s engine.Set) engine.Set { return f.add(t, f.of(s)) },
		Restart: func(t testing.TB, s engine.Set) engine.Set {
			f.of(s).restart(t)
			return s
		},
		Cut: func(t testing.TB, s engine.Set) { f.of(s).proxy.cut() },
		Has: []string{"ping", "unified", "reopen", "restart", "cut"},
	}.Run(t)
}
