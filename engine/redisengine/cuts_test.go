package redisengine_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// seeded makes choices that a failure can be repeated with.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("RHUBARB_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("RHUBARB_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestConnectionsBreakInTheMiddle cuts them within a command or an answer,
// wherever that may be.
func TestConnectionsBreakInTheMiddle(t *testing.T) {
	t.Parallel()
	random, s := seeded(t), startRedis(t)
	c := startCrowd(t, s.url(), 16)
	n := rounds(60, 1000)
	for range n {
		cut := s.proxy.cutAfter(1 + random.IntN(20_000))
		select {
		case <-cut:
		case <-time.After(patient):
			t.Fatal("nothing is sent any more")
		}
	}
	took := c.probe()
	c.stop()
	t.Logf("%d cuts; then a new call took %v", n, took)
}

func TestRedisHangsUp(t *testing.T) {
	t.Parallel()
	random, s := seeded(t), startRedis(t)
	c := startCrowd(t, s.url(), 16)
	kinds := []string{"normal", "pubsub"}
	n := rounds(20, 200)
	for i := range n {
		lull(t, time.Duration(random.IntN(100))*time.Millisecond)
		s.cli(t, "client", "kill", "type", kinds[i%2])
	}
	took := c.probe()
	c.stop()
	t.Logf("%d times CLIENT KILL; then a new call took %v", n, took)
}

// TestRedisIsSlow delays all that is sent to it, and stops the server for up to
// half of a lease.
func TestRedisIsSlow(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := startCrowd(t, s.url(), 8)
	c.lapses = true // with three seconds each way, pings come too late
	for range rounds(1, 5) {
		for _, d := range []time.Duration{200 * time.Millisecond, 3 * time.Second} {
			s.proxy.slow(d)
			lull(t, 2*d+time.Second)
			s.proxy.slow(0)
			c.probe()
		}
		pause(t, s, 3*time.Second)
		c.probe()
	}
	c.stop()
}

// TestConnectionsGoSilent leaves them open and passes nothing on, as a firewall
// does that has forgotten them.
func TestConnectionsGoSilent(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := startCrowd(t, s.url(), 16)
	c.lapses = true // it takes some six seconds to notice, and a beat is up to 2.5 s old
	var back []time.Duration
	for range rounds(1, 10) {
		lull(t, 500*time.Millisecond)
		s.proxy.freeze()
		back = append(back, c.probe())
	}
	c.stop()
	t.Logf("%d times silent; a new call was done: %s", len(back), spread(back))
}
