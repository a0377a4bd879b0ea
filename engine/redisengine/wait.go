package redisengine

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
)

// gate is opened for all who wait at it. The zero value is ready to use.
type gate struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns what is closed when the gate is opened the next time.
func (g *gate) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
	return g.ch
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch != nil {
		close(g.ch)
		g.ch = nil
	}
}

// waiter waits for one list. It holds a connection while it waits.
type waiter struct {
	key   string
	armed chan struct{} // has room for one
}

// waitFor is how long one command waits. That its connection has gone silent is
// noticed when another one does, and a read's timeout after that at the latest.
const waitFor = 20 * time.Second

// glance is the context of commands that wait. It ends when Redis is out of
// sight, so that they are sent anew. The zero value is ready to use.
type glance struct {
	mu   sync.Mutex
	ctx  context.Context
	stop context.CancelFunc
}

func (g *glance) in(life context.Context) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx == nil {
		g.ctx, g.stop = context.WithCancel(life)
	}
	return g.ctx
}

func (g *glance) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil {
		g.stop()
		g.ctx = nil
	}
}

// block waits for one list as long as it may take. Its context has no deadline,
// since rueidis hears of no cancel then.
func (r *receiver) block(w *waiter) error {
	ctx, cancel := context.WithCancel(r.sight.in(r.life))
	defer cancel()
	defer time.AfterFunc(waitFor+readTimeout, cancel).Stop()
	c := r.e.client
	return c.Do(ctx, c.B().Blmove().Source(w.key).Destination(w.key).Right().Right().Timeout(waitFor.Seconds()).Build()).Error()
}

// await starts a waiter for each list.
func (r *receiver) await() {
	for _, q := range r.opts.Queues {
		for step := range engine.PrioritySteps {
			w := &waiter{r.e.list(q, step), make(chan struct{}, 1)}
			r.waiters = append(r.waiters, w)
			r.loop.Go(func() { r.wait(w) })
		}
	}
}

// arm lets the waiters wait for the next message.
func (r *receiver) arm() {
	for _, w := range r.waiters {
		select {
		case w.armed <- struct{}{}:
		default:
		}
	}
}

// wait opens the gate when a list is not empty. It takes nothing: BLMOVE of a
// list's end to the same end waits for an element and puts it back in one step.
// kombu takes with BRPOP, and what it took is lost with the process.
func (r *receiver) wait(w *waiter) {
	ctx := r.life
	for tries := 0; ; {
		select {
		case <-w.armed:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			err := r.block(w)
			if err == nil {
				tries = 0
				r.woken.open()
				break
			}
			if rueidis.IsRedisNil(err) {
				tries = 0
				continue
			}
			if !r.pause(ctx, tries) {
				return
			}
			if tries++; r.refused(w, err, tries) {
				r.woken.open() // who takes must look by itself
				break
			}
		}
	}
}

// refused reports whether Redis does not let a list be waited for: its key is
// no list, or there is no room to move an element. The log has it once.
func (r *receiver) refused(w *waiter, err error, tries int) bool {
	if _, said := rueidis.IsRedisErr(err); !said || away(err) {
		return false
	}
	if tries == 1 && r.life.Err() == nil {
		r.e.log.Error("redis: a queue cannot be waited for, it is looked at each second", "key", w.key, "err", err)
	}
	return true
}
