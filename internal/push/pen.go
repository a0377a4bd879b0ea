package push

import (
	"runtime"
	"time"
)

const (
	// turn is how many writes a connection gets before others have their
	// turn: enough for a full queue of small messages.
	turn = 64

	// maxWrite is how much is written at once, under one deadline, where the
	// pool cannot see how much the client has taken.
	maxWrite = 64 << 10
)

// pen writes what a connection has waiting. Each goroutine has its own.
type pen struct {
	try func(fd uintptr) bool // write, made once

	// Of the write under way:
	c    *Conn
	wait bool  // for the socket, if it takes nothing
	full bool  // the socket takes no more
	err  error // of the system call
}

func newPen() *pen {
	w := new(pen)
	w.try = w.write
	return w
}

// flush writes without waiting. What then remains is left to drain.
func (w *pen) flush(c *Conn) {
	full := true
	if c.raw != nil {
		var err error
		if full, err = w.once(c, false); err != nil {
			c.failed(err)
			return
		}
	}
	switch {
	case full:
		c.pool.counters.waits.Add(1)
		c.pool.hand(job{c, (*pen).drain})
		// Lets that goroutine run now. A healthy socket takes all at once, and
		// it is free for the next connection: a broadcast over TLS takes a few
		// goroutines, not one per connection.
		runtime.Gosched()
	case !c.release():
		c.pool.makeReady(c)
	}
}

// drain writes until nothing waits, however long that takes.
func (w *pen) drain(c *Conn) {
	finish := w.finish
	if c.raw == nil {
		finish = w.finishBlocking
	}
	for {
		if err := finish(c); err != nil {
			c.failed(err)
			return
		}
		if c.release() {
			return
		}
	}
}

// finish writes all, with a new deadline whenever the socket takes something.
// It holds no buffer while it waits.
func (w *pen) finish(c *Conn) error {
	for full := true; full; {
		err := c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
		if err == nil {
			full, err = w.once(c, true)
		}
		if err != nil {
			return err
		}
	}
	return c.nc.SetWriteDeadline(time.Time{})
}

// finishBlocking writes all to a connection that offers nothing but Write.
func (w *pen) finishBlocking(c *Conn) error {
	for {
		b, from := c.peek()
		if len(b) == 0 {
			return c.nc.SetWriteDeadline(time.Time{}) // TLS writes by itself too
		}
		err := c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
		n := 0
		if err == nil {
			n, err = c.nc.Write(b[:min(len(b), maxWrite)])
		}
		c.wrote(n, from)
		if err != nil {
			return err
		}
	}
}

// once writes until the socket takes no more, nothing waits, or the turn is
// over. With wait it waits until the socket has taken something.
func (w *pen) once(c *Conn, wait bool) (full bool, err error) {
	w.c, w.wait, w.full, w.err = c, wait, false, nil
	err = c.raw.Write(w.try)
	w.c = nil
	if err == nil {
		err = w.err
	}
	return w.full, err
}

// write is called with the socket by syscall.RawConn's Write, again after a
// false when the socket can take more.
func (w *pen) write(fd uintptr) bool {
	c, some := w.c, false
	w.full = false
	for range turn {
		b, from := c.peek()
		if len(b) == 0 {
			return true
		}
		n, err := writeNow(fd, b)
		c.wrote(n, from)
		some = some || n > 0
		if err != nil {
			w.err = err
			return true
		}
		if w.full = n < len(b); w.full {
			return some || !w.wait
		}
	}
	return true
}

// wrote takes note of n bytes that were written, and takes back the chunk they
// were in, if any.
func (c *Conn) wrote(n int, from *chunk) {
	if n > 0 {
		c.pool.counters.bytes.Add(uint64(n))
		c.pool.counters.writes.Add(1)
	}
	c.advance(n)
	if from != nil {
		c.pool.chunks.Put(from)
	}
}
