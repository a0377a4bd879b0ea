package redisengine_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/enginetest"
)

func BenchmarkBroker(b *testing.B)  { enginetest.BenchmarkBroker(b, open) }
func BenchmarkResults(b *testing.B) { enginetest.BenchmarkResults(b, open) }
func BenchmarkStreams(b *testing.B) { enginetest.BenchmarkStreams(b, open) }
func BenchmarkLocks(b *testing.B)   { enginetest.BenchmarkLocks(b, open) }

// open is an engine on a server of its own, without the proxy between.
func open(t testing.TB) engine.Set {
	s := startRedis(t)
	return connect(t, "redis://"+s.addr()).Set()
}
