package push

import "sync/atomic"

// Stats is what a pool has done since it was made, and Conns.
type Stats struct {
	Conns     int    // connections that have not ended
	Pushed    uint64 // messages accepted, conflated ones among them
	Bytes     uint64 // bytes written
	Writes    uint64 // writes that took some
	Waits     uint64 // times a connection was left to a goroutine that may wait
	Dropped   uint64 // messages refused by the policy Drop
	Conflated uint64 // messages that a newer one of their key replaced
	Overflows uint64 // connections ended with ErrSlow, as their queue was full
	Timeouts  uint64 // connections ended with ErrSlow, as a write took too long
}

type counters struct {
	pushed    atomic.Uint64
	dropped   atomic.Uint64
	conflated atomic.Uint64
	overflows atomic.Uint64
	timeouts  atomic.Uint64

	_ [64]byte // those who push and those who flush are on different CPUs

	bytes  atomic.Uint64
	writes atomic.Uint64
	waits  atomic.Uint64
}

// Stats returns the counters. They are read one by one and need not agree
// while something is pushed.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	conns := p.open
	p.mu.Unlock()
	n := &p.counters
	return Stats{
		Conns:     conns,
		Pushed:    n.pushed.Load(),
		Bytes:     n.bytes.Load(),
		Writes:    n.writes.Load(),
		Waits:     n.waits.Load(),
		Dropped:   n.dropped.Load(),
		Conflated: n.conflated.Load(),
		Overflows: n.overflows.Load(),
		Timeouts:  n.timeouts.Load(),
	}
}
