package push

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// state is how far the end of a connection is.
type state uint8

const (
	open    state = iota
	ending        // after End, not all is written
	written       // after End, all is: the owner may still read
	over          // closed, or about to be
)

// cause is who ends a connection.
type cause uint8

const (
	byOwner cause = iota
	byPool
	byError
	byOverflow
	byTimeout
)

// Close ends the connection with that reason, ErrClosed for nil, unless it has
// ended already. What is not yet written never will be: for a clean end, Flush
// before. The net.Conn is closed soon after the call, then OnClose is called.
// After End it is closed as soon as all is written, and End's reason stays.
func (c *Conn) Close(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	_ = c.end(byOwner, reason) // it only says what the reason is
}

// End ends the connection with that reason, ErrClosed for nil, after all that
// waits and then last are written. last may be nil and may exceed the limit; it
// is kept like a pushed message. From now on Push refuses with the reason. The
// client then reads an end of file, if the net.Conn has CloseWrite; what it
// sends can still be read, until the owner calls Close (if it has not already)
// or for ConnOptions.Linger at most. The owner should read: a net.Conn closed
// with bytes unread is reset, and the client may lose the last ones.
//
// If not all is written within WriteTimeout, it ends with that reason as well.
// End does nothing after End or Close.
func (c *Conn) End(last []byte, reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	c.state, c.err = ending, reason
	if len(last) > 0 {
		c.needQueueLocked()
		c.q.add(item{b: last})
		c.pool.counters.pushed.Add(1)
	}
	wake := !c.busy
	c.busy = true
	c.limbo = time.AfterFunc(c.timeout, func() { _ = c.end(byTimeout, reason) })
	c.mu.Unlock()
	if wake {
		c.pool.makeReady(c)
	}
}

// halfClose is called after End when all is written.
func (c *Conn) halfClose() {
	if nc, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = nc.CloseWrite() // if it fails the owner's next read does
	}
	if c.lingers() {
		return
	}
	_ = c.end(byOwner, ErrClosed) // unless it is over; the reason is End's
}

// lingers begins the wait for Close, if that is still to come. Where the time
// for writing is over, its timer has the end in hand.
func (c *Conn) lingers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != ending || !c.limbo.Stop() {
		return true
	}
	c.state = written
	if !c.left {
		c.limbo.Reset(c.linger)
	}
	return !c.left
}

// endedLocked is the reason if the connection has ended.
func (c *Conn) endedLocked() error {
	if c.state == over {
		return c.err
	}
	return nil
}

// failed ends the connection after an error of a write.
func (c *Conn) failed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.end(byTimeout, errTimeout)
		return
	}
	_ = c.end(byError, fmt.Errorf("push: write to %v: %w", c.nc.RemoteAddr(), err))
}

// end ends the connection, once, and returns the reason that it has now.
func (c *Conn) end(by cause, reason error) error {
	c.mu.Lock()
	if c.settledLocked(by) {
		defer c.mu.Unlock()
		return c.err
	}
	if c.state == open {
		c.err = reason
		c.count(by)
	} else {
		c.limbo.Stop()
	}
	c.reset = by >= byOverflow && c.state != written
	c.state = over
	reason, q := c.err, c.q
	c.q = nil
	c.wakeLocked()
	c.mu.Unlock()
	c.pool.recycle(q)
	c.pool.remove(c)
	c.pool.hand(job{c, (*pen).shut})
	return reason
}

// settledLocked reports whether the cause ends nothing, or not yet.
func (c *Conn) settledLocked(by cause) bool {
	if c.state == ending && by == byOwner {
		c.left = true
		return true
	}
	overflow := by == byOverflow && c.state != open // of a push from before End
	return overflow || c.state == over
}

func (c *Conn) count(by cause) {
	switch by {
	case byOverflow:
		c.pool.counters.overflows.Add(1)
	case byTimeout:
		c.pool.counters.timeouts.Add(1)
	}
}

// shut closes the connection and tells its owner.
func (w *pen) shut(c *Conn) {
	defer c.pool.wg.Done()
	c.mu.Lock()
	reason, reset := c.err, c.reset
	c.mu.Unlock()
	if reset {
		abort(c.nc)
	}
	_ = c.nc.Close() // the reason is known already
	if c.onClose != nil {
		c.onClose(reason)
	}
}

// abort closes the socket at once, even under TLS, which would first try to
// say goodbye, and has the kernel forget what the client does not take.
func abort(nc net.Conn) {
	if outer, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = outer.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is about to be closed in any case
	}
	_ = nc.Close()
}
