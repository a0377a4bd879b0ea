package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// client is one browser: it follows a group, and comes back.
type client struct {
	group   *group
	balance *balancer
	wire    wire

	open atomic.Bool

	mu     sync.Mutex
	last   string  // the newest position
	got    []int32 // the numbers of all messages
	newest int     // the largest of them
	broken []string
	losses []loss
}

// loss is one time without a connection.
type loss struct {
	lost, attached, caught time.Time
	target                 int // it has caught up when it has this
	tries                  int
}

// wire is how a client speaks to a server.
type wire interface {
	// attach opens the stream on a connection, from a position on. An error
	// that is final is one after which a browser gives up.
	attach(nc net.Conn, addr, group, last string) (reader, error)

	// again is how long to wait after a stream or an attempt has ended.
	again(err error, tries int) time.Duration
}

// reader reads from an open stream.
type reader interface {
	// refused says that the server only told the client to come back.
	refused() bool
	next() (message, error)
	// position is where the client is, empty if nothing has told.
	position() string
}

type message struct {
	id   string
	data []byte
	gap  bool
}

// errFinal: the server's answer makes a browser give up for good.
var errFinal = errors.New("a browser would give up")

// run follows the group until ctx ends.
func (c *client) run(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; {
		attached, err := c.follow(ctx)
		if errors.Is(err, errFinal) {
			c.breaks("%v", err)
		}
		if tries++; attached {
			tries = 0
		}
		wait := time.NewTimer(c.wire.again(err, tries))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}

// follow is one connection. It goes to the next server where one refuses it.
func (c *client) follow(ctx context.Context) (attached bool, err error) {
	var nc net.Conn
	var addr string
	dialer := net.Dialer{Timeout: 5 * time.Second}
	for _, addr = range c.balance.order() {
		if nc, err = dialer.DialContext(ctx, "tcp", addr); err == nil {
			break
		}
	}
	if err != nil {
		return false, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	r, err := c.wire.attach(nc, addr, c.group.name, c.last)
	if err != nil {
		c.tried()
		return false, err
	}
	if r.refused() {
		c.tried()
	} else {
		c.attached()
	}
	for {
		m, err := r.next()
		if err != nil {
			c.lost(ctx, r.position())
			return !r.refused(), err
		}
		c.take(m)
	}
}

func (c *client) tried() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.losses); n > 0 {
		c.losses[n-1].tries++
	}
}

func (c *client) lost(ctx context.Context, at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at != "" {
		c.last = at
	}
	if !c.open.Swap(false) || ctx.Err() != nil { // it was not open, or we have closed it
		return
	}
	if n := len(c.losses); n > 0 && c.losses[n-1].caught.IsZero() { // it has not been back yet
		return
	}
	c.losses = append(c.losses, loss{lost: time.Now()})
}

func (c *client) attached() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open.Store(true)
	if n := len(c.losses); n > 0 {
		l := &c.losses[n-1]
		l.attached, l.target = time.Now(), int(c.group.newest.Load())
		c.caughtLocked()
	}
}

func (c *client) caughtLocked() {
	if n := len(c.losses); n > 0 && c.losses[n-1].caught.IsZero() && c.newest >= c.losses[n-1].target {
		c.losses[n-1].caught = time.Now()
	}
}

func (c *client) take(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.gap {
		c.breakLocked("was told a gap")
	}
	if m.id != "" {
		if m.id <= c.last && len(m.data) > 0 {
			c.breakLocked("position %s came after %s", m.id, c.last)
		}
		c.last = m.id
	}
	if len(m.data) == 0 {
		return
	}
	var e struct{ N int }
	if err := json.Unmarshal(m.data, &e); err != nil || e.N == 0 {
		c.breakLocked("got %.100q: %v", m.data, err)
		return
	}
	c.got, c.newest = append(c.got, int32(e.N)), max(c.newest, e.N)
	c.caughtLocked()
}

func (c *client) breaks(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakLocked(format, args...)
}

func (c *client) breakLocked(format string, args ...any) {
	if len(c.broken) < 10 {
		c.broken = append(c.broken, fmt.Sprintf(format, args...))
	}
}

// backoff doubles from a quarter of a second to four, and takes up to half of it
// away at random.
func backoff(tries int) time.Duration {
	most := 250 * time.Millisecond << min(tries, 4)
	return most/2 + rand.N(most/2)
}
