package memengine_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/engine/enginetest"
)

func BenchmarkBroker(b *testing.B)  { enginetest.BenchmarkBroker(b, open) }
func BenchmarkResults(b *testing.B) { enginetest.BenchmarkResults(b, open) }
func BenchmarkStreams(b *testing.B) { enginetest.BenchmarkStreams(b, open) }
func BenchmarkLocks(b *testing.B)   { enginetest.BenchmarkLocks(b, open) }
func BenchmarkLayer(b *testing.B)   { enginetest.BenchmarkLayer(b, open) }
