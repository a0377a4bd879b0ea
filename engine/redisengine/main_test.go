package redisengine_test

import (
	"testing"

	"go.uber.org/goleak"
)

// A cluster's client that is closed leaves goroutines that sleep for up to five
// seconds and then end: rueidis cluster.go _refresh, singleflight.go DelayDo.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}
