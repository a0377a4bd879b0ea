package sse

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/push"
)

// Server is what the connections of a program share: it writes to those over
// HTTP/1.1 itself, bounds and counts them all, and closes them for a deploy,
// spread over a time. The zero value is ready to use. It starts nothing before
// there is a connection, and holds no goroutine when there is none.
//
// http.Server.Shutdown waits for handlers and knows nothing of connections that
// were taken over, so call Close before it.
type Server struct {
	// Max is how many connections may be open at once; more are answered as
	// [Busy] does. Zero is no bound. It must not be changed once used.
	Max int

	stats Stats
	once  sync.Once
	pool  *push.Pool
	wheel *push.Wheel
	base  time.Time
	work  sync.WaitGroup // of connections that were taken over

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	closing bool
}

// Stats counts connections. The zero value is ready to use.
type Stats struct {
	Open    atomic.Int64  // now
	Opened  atomic.Uint64 // ever
	Events  atomic.Uint64 // sent
	Bytes   atomic.Uint64 // sent
	Gaps    atomic.Uint64 // told to readers of streams
	AtEnd   atomic.Uint64 // answered with 204
	Refused atomic.Uint64 // not allowed
	Busy    atomic.Uint64 // told to come back, for want of place

	// Connections that were closed by cause.
	Ended   atomic.Uint64 // by the handler, as with the end of a stream
	Left    atomic.Uint64 // the client went
	Slow    atomic.Uint64 // the client did not read
	Failed  atomic.Uint64 // the engine failed
	Drained atomic.Uint64 // the server goes away
	Expired atomic.Uint64 // MaxAge or Until
}

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

func (s *Server) start() {
	s.once.Do(func() { s.pool, s.wheel, s.base = push.New(nil), push.NewWheel(0), time.Now() })
}

// add reports whether there is place for the connection.
func (s *Server) add(c *Conn) bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.Max > 0 && len(s.conns) >= s.Max {
		return false
	}
	if s.conns == nil {
		s.conns = map[*Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

// busyRetry is when a client should come back that found no place. Another
// process will have it soon if this one goes away.
func (s *Server) busyRetry() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return time.Second
	}
	return busyRetry
}

func (s *Server) remove(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Len is how many connections are open.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close closes every connection within the grace, evenly spread, each after a
// whole event and with a random reconnection time of a second and up to half the
// grace, at least another second, and refuses later ones. It returns when all
// have been told, and those that were taken over are closed; when ctx ends it
// closes the rest at once and returns.
func (s *Server) Close(ctx context.Context, grace time.Duration) {
	s.start()
	s.mu.Lock()
	s.closing = true
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	// A client that does not read must neither delay the others nor outlive ctx.
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			c.cancel(errDrained)
		}
		s.pool.Close()
	})
	s.sendAway(ctx, conns, grace)
	s.work.Wait()
	stop()
	s.pool.Close()
}

func (s *Server) sendAway(ctx context.Context, conns []*Conn, grace time.Duration) {
	var away sync.WaitGroup
	defer away.Wait()
	push.Away(ctx, grace, len(conns), func(i int, retry time.Duration) {
		away.Go(func() { conns[i].goAway(retry, errDrained) })
	})
}
