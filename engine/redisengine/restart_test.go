package redisengine_test

import (
	"testing"
	"time"
)

// soon is how long all may take to go on when Redis is back.
const soon = 5 * time.Second

// TestRedisIsKilledUnderLoad kills the server and starts it again on the same
// append-only file.
func TestRedisIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := startCrowd(t, s.url(), 16)
	var back []time.Duration
	for i := range rounds(5, 20) {
		lull(t, 300*time.Millisecond)
		s.kill()
		lull(t, time.Duration(i%4)*400*time.Millisecond) // it is away for a moment
		s.start(t)
		back = append(back, c.probe())
	}
	c.stop()
	t.Logf("%d kills of redis-server; a new call was done after its return: %s", len(back), spread(back))
	for _, d := range back {
		if d > soon {
			t.Errorf("after a restart nothing ran for %v, want %v at most", d, soon)
		}
	}
}
