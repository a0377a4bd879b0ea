package main

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// balancer chooses between the servers by their /readyz, as a load balancer
// does.
type balancer struct {
	addrs []string
	ready []atomic.Bool
}

// checkEvery is how often a server is asked whether it is ready.
const checkEvery = 250 * time.Millisecond

func newBalancer(addrs ...string) *balancer {
	return &balancer{addrs: addrs, ready: make([]atomic.Bool, len(addrs))}
}

// run asks until ctx ends.
func (b *balancer) run(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		for i, addr := range b.addrs {
			b.ready[i].Store(isReady(ctx, addr))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// order is the servers to try, those that are ready first, else at random.
func (b *balancer) order() []string {
	var up, down []string
	first := rand.IntN(len(b.addrs))
	for i := range b.addrs {
		i = (first + i) % len(b.addrs)
		if b.ready[i].Load() {
			up = append(up, b.addrs[i])
		} else {
			down = append(down, b.addrs[i])
		}
	}
	return append(up, down...)
}
