package push

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Policy says what happens to a message when the queue is full.
type Policy uint8

// Policies.
const (
	// Disconnect ends the connection with ErrSlow.
	Disconnect Policy = iota

	// Drop refuses the message and counts it.
	Drop

	// Conflate has PushKey replace a message of the same key that is still
	// unwritten, in its place and at any time, full or not. What comes when
	// the queue is full all the same ends the connection with ErrSlow.
	Conflate
)

// ConnOptions configures a connection. The zero value is ready to use.
type ConnOptions struct {
	// Limit is how many bytes may wait to be written, each message counted
	// with 40 more. A message is accepted while less than that waits, so one
	// that is larger by itself passes. Zero means 1 MiB.
	Limit int

	// Policy says what happens to more than that. Zero is Disconnect.
	Policy Policy

	// WriteTimeout is how long the client may take nothing of what waits. (Where
	// the pool cannot see how much it takes, as over TLS, the time for 64 KiB.)
	// The connection is then ended with ErrSlow. Zero means 10 seconds.
	WriteTimeout time.Duration

	// Linger is how long after End, when all is written, the net.Conn stays
	// open for reading. Zero means 3 seconds.
	Linger time.Duration

	// OnClose is called once, with the reason, after the net.Conn was closed.
	// It is called from a goroutine of the pool, may block, but must not
	// close the pool. Nil is allowed.
	OnClose func(error)
}

const (
	defaultLimit        = 1 << 20
	defaultWriteTimeout = 10 * time.Second
	defaultLinger       = 3 * time.Second
)

// Reasons for the end of a connection. Match with errors.Is.
var (
	// ErrClosed: it was closed without another reason, or with its pool.
	ErrClosed = errors.New("push: connection is closed")

	// ErrSlow: the client did not read fast enough. It gets a reset, for what
	// the kernel still holds for it would stay there for minutes.
	ErrSlow = errors.New("push: the client does not read")

	errOverflow = fmt.Errorf("%w: its queue is full", ErrSlow)
	errTimeout  = fmt.Errorf("%w: it took nothing in time", ErrSlow)
)

// Conn is the writing half of a connection. Its methods may be called at once
// and under any lock; only Flush blocks. Made by [Pool.Add].
type Conn struct {
	pool    *Pool
	nc      net.Conn
	raw     syscall.RawConn // nil if writes may wait
	onClose func(error)
	limit   int
	timeout time.Duration
	linger  time.Duration
	policy  Policy

	mu      sync.Mutex
	busy    bool // in the ready list, or being written to
	state   state
	left    bool // by its owner, with Close after End
	reset   bool // when it is closed, for the client did not read
	q       *queue
	dropped uint64
	waiters *waiter
	err     error       // why it ended or is ending
	limbo   *time.Timer // ends it after End

	// Guarded by pool.mu.
	ready        *Conn // the next one in the ready list
	older, newer *Conn // in the list of all
}

// waiter is a call of Flush.
type waiter struct {
	until uint64 // counted like queue.done: it does not outlive the queue
	done  chan struct{}
	err   error
	next  *waiter
}

// NetConn returns the connection itself, for reading.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Raw returns its socket, for reading without a buffer while there is nothing;
// nil if the connection may do something in its Read and Write, like one over
// TLS, or on a platform without.
func (c *Conn) Raw() syscall.RawConn { return c.raw }

// Push queues messages, which are written together if they may be, and returns.
// It keeps their bytes, which nobody may change afterwards, and which may be
// pushed to other connections too. Bytes are written in the order of the calls.
// The error is why the connection ended, or will after End; a message that was
// dropped is no error.
func (c *Conn) Push(messages ...[]byte) error { return c.push("", messages) }

// PushKey is Push of a message of which only the newest with its key matters.
// Only connections with the policy Conflate make use of it. The empty key is
// none.
func (c *Conn) PushKey(key string, b []byte) error {
	one := [1][]byte{b}
	return c.push(key, one[:])
}

// verdict is what became of a pushed message.
type verdict uint8

const (
	queued verdict = iota
	replaced
	refused
	ended
)

func (c *Conn) push(key string, messages [][]byte) error {
	var became [ended + 1]uint64
	c.mu.Lock()
	for _, b := range messages {
		if len(b) == 0 {
			continue
		}
		v := c.pushLocked(item{b: b, key: key})
		became[v]++
		if v == ended || v == refused && c.policy != Drop {
			break
		}
	}
	wake := became[queued] > 0 && !c.busy
	c.busy = c.busy || wake
	err := c.err
	c.mu.Unlock()
	c.pool.counters.count(&became, c.policy)
	if wake {
		c.pool.makeReady(c)
	}
	if became[refused] > 0 && c.policy != Drop {
		return c.end(byOverflow, errOverflow)
	}
	return err
}

// count counts what became of messages.
func (n *counters) count(became *[ended + 1]uint64, policy Policy) {
	n.pushed.Add(became[queued] + became[replaced])
	if became[replaced] > 0 {
		n.conflated.Add(became[replaced])
	}
	if became[refused] > 0 && policy == Drop {
		n.dropped.Add(became[refused])
	}
}

func (c *Conn) pushLocked(it item) verdict {
	if c.err != nil {
		return ended
	}
	c.needQueueLocked()
	conflate := c.policy == Conflate && it.key != ""
	if conflate {
		if old := c.q.find(it.key); old != nil {
			return c.replaceLocked(old, it)
		}
	}
	if c.q.cost >= c.limit {
		return c.refuseLocked()
	}
	if !conflate {
		it.key = ""
	}
	c.q.add(it)
	if conflate {
		c.q.remember(it.key)
	}
	return queued
}

func (c *Conn) needQueueLocked() {
	if c.q == nil {
		c.q = c.pool.queues.Get().(*queue)
	}
}

func (c *Conn) replaceLocked(old *item, it item) verdict {
	others := c.q.cost - old.cost()
	if others >= c.limit && len(it.b) > len(old.b) {
		return c.refuseLocked()
	}
	c.q.cost = others + it.cost()
	old.b = it.b
	return replaced
}

func (c *Conn) refuseLocked() verdict {
	if c.policy == Drop {
		c.dropped++
	}
	return refused
}

// Dropped returns how many messages the policy Drop has refused.
func (c *Conn) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Flush waits until all that was pushed before is written, which is to say in
// the kernel's hands. The error is why the connection ended before that, or
// the context's cause.
func (c *Conn) Flush(ctx context.Context) error {
	c.mu.Lock()
	if c.state == over || c.q == nil || c.q.len() == 0 {
		defer c.mu.Unlock()
		return c.endedLocked()
	}
	w := &waiter{until: c.q.done + uint64(c.q.len()), done: make(chan struct{}), next: c.waiters}
	c.waiters = w
	c.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		c.forget(w)
		return context.Cause(ctx)
	}
}

func (c *Conn) forget(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := &c.waiters; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			return
		}
	}
}

// wakeLocked ends the calls of Flush that have what they wait for, and all of
// them when the connection has ended.
func (c *Conn) wakeLocked() {
	for at := &c.waiters; *at != nil; {
		w := *at
		if c.state != over && w.until > c.q.done {
			at = &w.next
			continue
		}
		w.err = c.endedLocked()
		*at = w.next
		close(w.done)
	}
}

// peek returns what to write next, and the chunk to give back after that; none
// at the end.
func (c *Conn) peek() ([]byte, *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.q == nil || c.q.len() == 0 {
		return nil, nil
	}
	var to *chunk
	if c.q.joins() {
		to = c.pool.chunks.Get().(*chunk)
	}
	return c.q.peek(to), to
}

// advance is told how much of that was written.
func (c *Conn) advance(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.q == nil {
		return // it has ended
	}
	c.q.advance(n)
	if c.waiters != nil {
		c.wakeLocked()
	}
}

// release gives the connection up, unless it has more to write.
func (c *Conn) release() bool {
	c.mu.Lock()
	if c.q != nil && c.q.len() > 0 {
		c.mu.Unlock()
		return false
	}
	if c.q != nil {
		c.pool.recycle(c.q)
		c.q = nil
	}
	last := c.state == ending
	c.busy = false
	c.mu.Unlock()
	if last {
		c.halfClose()
	}
	return true
}
