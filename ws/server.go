package ws

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/push"
)

// Server is what connections share. Its methods may be called at once.
type Server struct {
	opts  Options
	stats Stats
	pool  *push.Pool
	wheel *push.Wheel
	base  time.Time
	work  sync.WaitGroup // consumers

	mu      sync.Mutex
	conns   []*Conn // each knows its place
	coming  int     // accepted, and not in conns yet
	closing bool
	empty   chan struct{} // closed when closing and no connection is left
	isEmpty sync.Once
}

// New makes a server. Nil options are the defaults; options that contradict
// themselves are an error. It starts nothing before there is a connection.
func New(opts *Options) (*Server, error) {
	s := &Server{
		pool: push.New(nil), wheel: push.NewWheel(0), base: time.Now(),
		empty: make(chan struct{}),
	}
	s.stats.pool = s.pool
	if opts != nil {
		s.opts = *opts
	}
	if err := s.opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("ws: new: %w", err)
	}
	return s, nil
}

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

func (s *Server) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullLocked()
}

func (s *Server) fullLocked() bool {
	return s.closing || s.opts.MaxConns > 0 && len(s.conns)+s.coming >= s.opts.MaxConns
}

// reserve takes a place for a connection that is about to come, if there is
// one, until add or forgo.
func (s *Server) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fullLocked() {
		return false
	}
	s.coming++
	return true
}

// forgo gives the place back.
func (s *Server) forgo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming--
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.conns) - 1
	s.conns[c.place] = s.conns[last]
	s.conns[c.place].place = c.place
	s.conns[last] = nil
	s.conns = s.conns[:last]
	if s.closing && len(s.conns) == 0 {
		s.isEmpty.Do(func() { close(s.empty) })
	}
}

// Drain closes every connection with 1012, evenly spread over the grace, each
// with another hint when to come back ("retry=" and milliseconds, in the
// reason), and refuses later ones. It returns when all have gone and their
// consumers have ended; when ctx ends the rest are dropped. http.Server knows
// nothing of WebSockets, so call it before Shutdown.
func (s *Server) Drain(ctx context.Context, grace time.Duration) {
	s.mu.Lock()
	s.closing = true
	conns := slices.Clone(s.conns)
	if len(conns) == 0 {
		s.isEmpty.Do(func() { close(s.empty) })
	}
	s.mu.Unlock()
	s.sendAway(ctx, conns, grace)
	select {
	case <-s.empty:
	case <-ctx.Done():
	}
	s.pool.Close()
	s.work.Wait()
}

func (s *Server) sendAway(ctx context.Context, conns []*Conn, grace time.Duration) {
	push.Away(ctx, grace, len(conns), func(i int, retry time.Duration) {
		conns[i].close(CloseRestart, fmt.Sprintf("service restart; retry=%d", retry.Milliseconds()), Drained)
	})
}

// Close drops all connections and waits for their consumers. Drain is kinder.
func (s *Server) Close() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.pool.Close()
	s.work.Wait()
}
