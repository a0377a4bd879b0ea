package sse

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Drain keeps account of open connections, to bound their number and to close
// them for a deploy, spread over a time. The zero value is ready to use, and
// so is a nil one in Options. http.Server.Shutdown waits for handlers, so call
// Close before it.
type Drain struct {
	// Max is how many connections may be open at once; more are answered as
	// [Busy] does. Zero is no bound. It must not be changed once used.
	Max int

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	closing bool
}

// add reports whether there is place for the connection.
func (d *Drain) add(c *Conn) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing || d.Max > 0 && len(d.conns) >= d.Max {
		return false
	}
	if d.conns == nil {
		d.conns = map[*Conn]struct{}{}
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Drain) remove(c *Conn) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// Len is how many connections are open.
func (d *Drain) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Close closes every connection within the grace, evenly spread, each after a
// whole event and with a random reconnection time of a second to one more than
// the grace, and refuses later ones. When ctx ends it closes the rest at once
// and returns.
func (d *Drain) Close(ctx context.Context, grace time.Duration) {
	d.mu.Lock()
	d.closing = true
	conns := make([]*Conn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	if len(conns) == 0 {
		return
	}
	// A client that does not read must neither delay the others nor outlive ctx.
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			c.cancel(errDrained)
		}
	})
	defer stop()
	var away sync.WaitGroup
	defer away.Wait()
	step := time.NewTicker(max(grace/time.Duration(len(conns)), time.Microsecond))
	defer step.Stop()
	for i, c := range conns {
		away.Go(func() { c.goAway(time.Second+rand.N(max(grace, 0)+1), errDrained) })
		if i == len(conns)-1 {
			return
		}
		select {
		case <-step.C:
		case <-ctx.Done():
			return
		}
	}
}
