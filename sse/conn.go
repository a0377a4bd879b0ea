package sse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Options configures a connection. The zero value is ready to use.
type Options struct {
	// Heartbeat is how long a connection may be silent before a comment is
	// sent. Zero means 15 seconds, the standard's advice, which is also the
	// most.
	Heartbeat time.Duration

	// WriteTimeout bounds one write; a client that takes none of it for that
	// long is closed with ErrSlow. Zero means 10 seconds.
	WriteTimeout time.Duration

	// Private is for streams no cache may keep: Cache-Control is no-store.
	Private bool

	// Origins says which other sites' pages may read; see [Origins].
	Origins Origins

	// Authorize is asked at every attach, and so at every reconnection, before
	// anything is sent. [ErrBusy] has the client come back later; any other
	// error is answered with 403, which tells a browser to give up. Nil lets
	// everyone in.
	Authorize func(*http.Request) error

	// MaxAge closes connections after that time, give or take a fifth, so that
	// they spread over servers anew. Zero is never.
	MaxAge time.Duration

	// Until closes the connection then, for permissions that end. Zero is
	// never.
	Until time.Time

	// Drain, if set, bounds the number of connections and closes them when it
	// is told to.
	Drain *Drain
}

const (
	defaultHeartbeat    = 15 * time.Second
	defaultWriteTimeout = 10 * time.Second
)

func (o *Options) setDefaults() {
	if o.Heartbeat <= 0 || o.Heartbeat > defaultHeartbeat {
		o.Heartbeat = defaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
}

// Errors of a connection that has ended. Match with errors.Is.
var (
	// ErrClosed: it was closed, here or by the client.
	ErrClosed = errors.New("sse: connection is closed")

	// ErrSlow: the client took nothing for the write timeout.
	ErrSlow = errors.New("sse: the client does not read")

	errDrained = fmt.Errorf("%w, as the server goes away", ErrClosed)
	errExpired = fmt.Errorf("%w, as its time is over", ErrClosed)
)

// Conn is one client's connection. Its methods may be called at once; events
// are written whole, in the order of the calls. It must be closed before the
// handler returns. It has no goroutine of its own.
type Conn struct {
	rc     *http.ResponseController
	w      http.ResponseWriter
	ctx    context.Context
	cancel context.CancelCauseFunc
	opts   Options

	beat *time.Timer
	age  *time.Timer // nil without a bound

	turn chan struct{} // full while someone writes; a lock that can be waited for in a select
	buf  []byte
	err  error // why nothing more is written
	last time.Time

	late atomic.Bool // the last write took most of its time
}

// Upgrade answers the request with an event stream: its headers and a first
// comment are sent at once, so that the client knows it is connected. A
// request that gets no stream (HEAD, OPTIONS, another site's, one too many) is
// answered, and the error says why; the handler just returns. A nil opts is
// the zero value.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *Options) (*Conn, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.admit(w, r); err != nil {
		return nil, err
	}
	return open(w, r, o)
}

func open(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	o.setDefaults()
	c := &Conn{rc: http.NewResponseController(w), w: w, opts: o, turn: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(r.Context())
	c.turn <- struct{}{} // so that a drain waits for the headers
	defer c.leave()
	if !o.Drain.add(c) {
		c.cancel(ErrBusy)
		o.busy(w, r, busyRetry)
		return nil, ErrBusy
	}
	o.headers(w, r)
	w.WriteHeader(http.StatusOK)
	if err := c.writeLocked([]byte(heartbeat)); err != nil {
		o.Drain.remove(c)
		return nil, err
	}
	c.beat = time.AfterFunc(defaultHeartbeat, c.heartbeat)
	c.beat.Reset(o.Heartbeat) // not before the field is set, which heartbeat reads
	if life, bound := o.life(); bound {
		c.age = time.AfterFunc(life, func() { c.goAway(time.Second+rand.N(2*time.Second), errExpired) })
	}
	return c, nil
}

// life is how long the connection may last.
func (o *Options) life() (d time.Duration, bound bool) {
	if o.MaxAge > 0 {
		d, bound = o.MaxAge-o.MaxAge/5+rand.N(o.MaxAge/5*2+1), true
	}
	if !o.Until.IsZero() {
		if left := max(time.Until(o.Until), 0); !bound || left < d {
			d, bound = left, true
		}
	}
	return d, bound
}

// Context ends when the client leaves or the connection is closed.
func (c *Conn) Context() context.Context { return c.ctx }

// Send writes an event. After an error of the connection every later call
// returns it; [ErrField] and [ErrTooLarge] are of the event alone.
func (c *Conn) Send(e Event) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	var err error
	if c.buf, err = AppendEvent(c.buf[:0], e); err != nil {
		return err
	}
	return c.writeLocked(c.buf)
}

// Write writes whole events that AppendEvent made, in one write.
func (c *Conn) Write(events []byte) (int, error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	if err := c.writeLocked(events); err != nil {
		return 0, err
	}
	return len(events), nil
}

// enter waits for the turn to write.
func (c *Conn) enter() error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return c.gone()
	}
}

func (c *Conn) leave() { <-c.turn }

// gone is the error of a connection whose context has ended.
func (c *Conn) gone() error {
	if cause := context.Cause(c.ctx); errors.Is(cause, ErrClosed) || errors.Is(cause, ErrSlow) {
		return cause
	}
	if c.late.Load() { // HTTP/2's deadline struck between the end of a write and its clearing
		return ErrSlow
	}
	return ErrClosed
}

// writeLocked writes and flushes under a deadline of its own, since a server's
// WriteTimeout counts from the request and is not renewed (golang/go#16100).
func (c *Conn) writeLocked(b []byte) error {
	if c.err == nil && c.ctx.Err() != nil {
		c.err = c.gone()
	}
	if c.err != nil {
		return c.err
	}
	begun := time.Now()
	if err := c.flushLocked(b, begun.Add(c.opts.WriteTimeout)); err != nil {
		c.err = fmt.Errorf("%w: %w", ErrClosed, err)
		// HTTP/2 resets the stream at the deadline and does not say why.
		if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) >= c.opts.WriteTimeout {
			c.err = ErrSlow
		}
		c.cancel(c.err)
		return c.err
	}
	c.last = begun
	c.late.Store(time.Since(begun) > c.opts.WriteTimeout/2)
	return nil
}

func (c *Conn) flushLocked(b []byte, deadline time.Time) error {
	if err := c.setDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	if err := c.rc.Flush(); err != nil {
		return err
	}
	return c.setDeadline(time.Time{})
}

// setDeadline is for where the writer has one; recorders in tests have none.
func (c *Conn) setDeadline(t time.Time) error {
	if err := c.rc.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// heartbeat sends a comment if the connection was silent for long, and looks
// again when it may have been.
func (c *Conn) heartbeat() {
	select {
	case c.turn <- struct{}{}:
		defer c.leave()
	default: // it is being written to
		c.beat.Reset(c.opts.Heartbeat)
		return
	}
	if left := c.opts.Heartbeat - time.Since(c.last); left > 0 {
		c.beat.Reset(left)
		return
	}
	if c.writeLocked([]byte(heartbeat)) == nil {
		c.beat.Reset(c.opts.Heartbeat)
	}
}

// Close ends the connection cleanly, after the last whole event. It waits for
// a write under way.
func (c *Conn) Close() error {
	c.opts.Drain.remove(c)
	c.cancel(ErrClosed)
	c.turn <- struct{}{}
	defer c.leave()
	if c.err == nil { // from now on nobody touches the ResponseWriter
		c.err = context.Cause(c.ctx)
	}
	c.beat.Stop()
	if c.age != nil {
		c.age.Stop()
	}
	return nil
}

// goAway tells the client when to come back and ends the connection. Nothing
// comes after that word.
func (c *Conn) goAway(retry time.Duration, cause error) {
	defer c.cancel(cause)
	if c.enter() != nil {
		return
	}
	defer c.leave()
	b, err := AppendEvent(nil, Event{Retry: retry})
	if err == nil {
		err = c.writeLocked(b)
	}
	if err == nil {
		c.err = cause
	}
}

// cause says why the connection has ended.
func (c *Conn) cause() error {
	c.turn <- struct{}{}
	defer c.leave()
	if c.err != nil {
		return c.err
	}
	return context.Cause(c.ctx)
}
