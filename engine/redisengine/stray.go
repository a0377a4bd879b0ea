package redisengine

import (
	"context"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// In Redis one lease holds for all of an owner. What the owner has given up, and
// renews no more while it goes on with others, is found here.

// strayAfter is how much longer than the lease that is waited for: after an
// outage a worker that lives is to renew, or give up, first.
const strayAfter = 4 * time.Second

// renew notes that deliveries were extended.
func (r *receiver) renew(ds []*engine.Delivery) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range ds {
		if _, ok := r.renewed[d]; ok {
			r.renewed[d] = now
		}
	}
}

// strays returns deliveries that nobody has renewed in time.
func (r *receiver) strays() (ss []settlement) {
	before := time.Now().Add(-r.opts.Lease - strayAfter)
	r.mu.Lock()
	defer r.mu.Unlock()
	for d, at := range r.renewed {
		if at.Before(before) {
			ss = append(ss, settlement{Settlement: engine.Settlement{Delivery: d}, stray: true})
		}
	}
	return ss
}

// collect puts back what strays, as what a dead owner held.
func (e *Engine) collect(ctx context.Context) {
	for _, r := range e.all() {
		if ss := r.strays(); len(ss) > 0 {
			r.settle(ctx, ss) // what fails strays still
		}
	}
}
