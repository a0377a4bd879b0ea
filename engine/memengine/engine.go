package memengine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Engine implements every facet of the seam. Its methods may be called at
// once. Use [New].
type Engine struct {
	done chan struct{} // closed by Close
	lost atomic.Uint64 // broadcast payloads

	mu        sync.Mutex
	closed    bool
	clock     clock
	last      uint64 // number of the latest record, claim or term
	tasks     map[string]*task
	queues    map[string]*queue
	keys      map[string]string // idempotency key → task id
	shelves   map[engine.Shelf]*shelf
	receivers map[*receiver]struct{}
	listeners map[*listener]struct{}
	locks     map[string]*term
	waiters   map[string]*waiter
	layer     layer
}

var (
	_ engine.Broker  = (*Engine)(nil)
	_ engine.Results = (*Engine)(nil)
	_ engine.Streams = (*Engine)(nil)
	_ engine.Locks   = (*Engine)(nil)
	_ engine.Layer   = (*Engine)(nil)
	_ engine.Pinger  = (*Engine)(nil)
)

// New returns an empty engine. Close it to stop its timer and its readers.
func New() *Engine {
	e := &Engine{
		done:      make(chan struct{}),
		tasks:     make(map[string]*task),
		queues:    make(map[string]*queue),
		keys:      make(map[string]string),
		shelves:   map[engine.Shelf]*shelf{engine.Dead: {}, engine.Parked: {}},
		receivers: make(map[*receiver]struct{}),
		listeners: make(map[*listener]struct{}),
		locks:     make(map[string]*term),
		waiters:   make(map[string]*waiter),
		layer:     newLayer(),
	}
	e.clock.tick = e.tick
	return e
}

// Ping implements engine.Pinger.
func (e *Engine) Ping(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.openLocked()
}

// Close implements engine.Broker.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	close(e.done)
	e.clock.stop()
	for r := range e.receivers {
		r.closeLocked()
	}
	for l := range e.listeners {
		l.release()
	}
	return nil
}

func (e *Engine) openLocked() error {
	if e.closed {
		return engine.ErrClosed
	}
	return nil
}

// tick runs what is due.
func (e *Engine) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.clock.run(time.Now())
	}
}

// number returns the next number: they grow over everything the engine keeps.
func (e *Engine) number() uint64 {
	e.last++
	return e.last
}

// repeat returns err n times.
func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// enter locks the engine for a call that answers with one error per item. It
// returns false, and the errors, if the call cannot be done.
func (e *Engine) enter(ctx context.Context, n int) ([]error, bool) {
	if err := ctx.Err(); err != nil {
		return repeat(err, n), false
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return repeat(engine.ErrClosed, n), false
	}
	return make([]error, n), true
}

// begin locks the engine for a call. Unlock e.mu if it returns nil.
func (e *Engine) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return engine.ErrClosed
	}
	return nil
}
