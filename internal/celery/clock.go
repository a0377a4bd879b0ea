package celery

import "sync/atomic"

// Clock is the logical clock that a process's events and remote control share.
// kombu/clocks.py LamportClock. The zero value is ready to use, by any number
// of goroutines.
type Clock struct{ now atomic.Uint64 }

// Forward counts something of our own and returns its time.
func (c *Clock) Forward() uint64 { return c.now.Add(1) }

// Adjust counts something of a peer's, which happened at its time other, and
// returns ours. A time that no clock can have reached, above 2^53, counts as 0.
func (c *Clock) Adjust(other uint64) uint64 {
	if other > 1<<53 {
		other = 0
	}
	for {
		now := c.now.Load()
		next := max(now, other) + 1
		if c.now.CompareAndSwap(now, next) {
			return next
		}
	}
}

// Now returns the present time.
func (c *Clock) Now() uint64 { return c.now.Load() }
