package push

import (
	"context"
	"math/rand/v2"
	"time"
)

// Away calls away for each of n connections, spread evenly over the grace, with
// the time after which its client should come back: a second, for a load
// balancer to notice, and up to half the grace more, at least up to another
// second, at random. So they come to another process no faster than they are
// closed here. What a slow call or a busy machine delays is made up for. It
// returns early when ctx ends.
func Away(ctx context.Context, grace time.Duration, n int, away func(i int, retry time.Duration)) {
	grace = max(grace, 0)
	start := time.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for i := range n {
		if ahead := grace*time.Duration(i)/time.Duration(n) - time.Since(start); ahead > 0 {
			wait.Reset(ahead)
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
		}
		away(i, time.Second+rand.N(max(grace/2, time.Second)))
	}
}
