package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Errors of a connection that has ended. Match with errors.Is.
var (
	// ErrClosed: it was closed, here or by the client.
	ErrClosed = errors.New("sse: connection is closed")

	// ErrSlow: the client took nothing for the write timeout, or more waits for
	// it than may.
	ErrSlow = errors.New("sse: the client does not read")

	errLeft    = fmt.Errorf("%w: the client left", ErrClosed)
	errDrained = fmt.Errorf("%w, as the server goes away", ErrClosed)
	errExpired = fmt.Errorf("%w, as its time is over", ErrClosed)
	errFailed  = fmt.Errorf("%w, as there is nothing to read from", ErrClosed)
)

// Conn is one client's connection. Its methods may be called at once; events
// are written whole, in the order of the calls. The handler calls Close before
// it returns, or Stay.
type Conn struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    outlet
	age    *time.Timer // nil without a bound
	values *values     // nil if the request's context ends it

	mu   sync.Mutex
	why  error             // why it has ended, nil while it has not
	done func(cause error) // of Stay
}

// outlet is how bytes reach the client: through net/http (response.go), or the
// socket itself (taken.go).
type outlet interface {
	// write writes whole events. It waits until there is place for more.
	write(events []byte) error

	// push queues frames, in place of one with their key, and does not wait.
	push(key string, frames ...Frame) error

	// flush waits until what was pushed is written.
	flush(ctx context.Context) error

	// end writes whole lines as the last ones, and ends the connection.
	end(last []byte, cause error)

	// close ends it after what is written, without a word.
	close(cause error)
}

// never is the outlet of a connection that ended before it had begun, for those
// who were to end it.
type never struct{ why error }

func (n never) write([]byte) error          { return n.why }
func (n never) push(string, ...Frame) error { return n.why }
func (n never) flush(context.Context) error { return n.why }
func (n never) end([]byte, error)           {}
func (n never) close(error)                 {}

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
		o.refused(err)
		return nil, err
	}
	return o.begin(w, r)
}

// begin is the second half, for a request that was admitted.
func (o *Options) begin(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	o.setDefaults()
	c := &Conn{opts: *o}
	c.mu.Lock() // so that what ends it waits until it has begun
	defer c.mu.Unlock()
	if !o.Server.add(c) {
		o.busy(w, r, o.Server.busyRetry())
		o.refused(ErrBusy)
		return nil, ErrBusy
	}
	take := o.takes(w, r)
	if take {
		// The connection outlives the request: until Stay its handler has it.
		c.values = borrow(r.Context(), func() { c.outlet().close(errLeft) })
		c.ctx, c.cancel = context.WithCancelCause(c.values)
	} else {
		c.ctx, c.cancel = context.WithCancelCause(r.Context())
	}
	o.count(func(s *Stats) { s.Opened.Add(1); s.Open.Add(1) })
	var err error
	if take {
		c.out, err = newTaken(c, w)
	} else {
		c.out, err = newResponse(c, w, r)
	}
	if err != nil {
		c.out = never{err}
		c.endedLocked(err)
		return nil, err
	}
	if life, bound := o.life(); bound {
		c.age = time.AfterFunc(life, func() { c.goAway(time.Second+rand.N(2*time.Second), errExpired) })
	}
	return c, nil
}

// outlet waits until there is one.
func (c *Conn) outlet() outlet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out
}

// Context ends when the client leaves or the connection is closed. It has the
// values of the request's until Stay returns.
func (c *Conn) Context() context.Context { return c.ctx }

// Send writes an event. After an error of the connection every later call
// returns it; [ErrField] and [ErrTooLarge] are of the event alone.
func (c *Conn) Send(e Event) error {
	b, err := AppendEvent(nil, e)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

// Write writes whole events that AppendEvent made, in one write. It waits while
// a lot is under way to a client that does not read.
func (c *Conn) Write(events []byte) (int, error) {
	if err := c.out.write(events); err != nil {
		return 0, err
	}
	c.sent(uint64(bytes.Count(events, []byte("\n\n"))), len(events))
	return len(events), nil
}

// Push queues events for the client, which are written together if they may be,
// and does not wait. A frame may go to many connections. A client for which
// more than 1 MiB waits, or that takes nothing for the write timeout, is closed
// with ErrSlow.
func (c *Conn) Push(frames ...Frame) error { return c.push("", frames...) }

// PushKey is Push of an event of which only the newest with its key matters to
// a client that is behind, as with a price: it takes the place of an older one
// that still waits to be written. The empty key is none. It is not for events
// from whose ids clients go on.
func (c *Conn) PushKey(key string, f Frame) error { return c.push(key, f) }

func (c *Conn) push(key string, frames ...Frame) error {
	if err := c.out.push(key, frames...); err != nil {
		return err
	}
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	c.sent(uint64(len(frames)), size)
	return nil
}

func (c *Conn) sent(events uint64, size int) {
	c.opts.count(func(s *Stats) { s.Events.Add(events); s.Bytes.Add(uint64(size)) })
}

// Flush waits until all that was pushed before is in the kernel's hands. The
// error is why the connection ended before that, or the context's cause.
func (c *Conn) Flush(ctx context.Context) error { return c.out.flush(ctx) }

// Stay leaves the connection to those who push to it, until it ends; then done,
// if it is not nil, is called with why. Over HTTP/1.1 with [Options].Server it
// returns at once, and the request's context no longer counts; elsewhere it
// returns at the end, for the handler must not return before.
func (c *Conn) Stay(done func(cause error)) {
	if done != nil {
		c.onEnd(done)
	}
	if c.values != nil {
		c.values.release()
		return
	}
	<-c.ctx.Done()
	c.out.close(c.cause())
}

// onEnd has a function called when the connection has ended, or now if it has.
func (c *Conn) onEnd(done func(cause error)) {
	c.mu.Lock()
	why := c.why
	if why == nil {
		c.done = done
	}
	c.mu.Unlock()
	if why != nil {
		done(why)
	}
}

// Cancel has the connection end soon and waits for nothing: it is for others
// than its handler. What was pushed and not flushed may be lost.
func (c *Conn) Cancel() {
	if c.values != nil {
		c.outlet().close(ErrClosed)
		return
	}
	c.cancel(ErrClosed) // of which the handler hears
}

// Close ends the connection cleanly, after the last whole event.
func (c *Conn) Close() error {
	if c.values != nil {
		c.values.release()
	}
	c.out.close(ErrClosed)
	return nil
}

// goAway tells the client when to come back and ends the connection. Nothing
// comes after that word.
func (c *Conn) goAway(retry time.Duration, cause error) {
	b, err := AppendEvent(nil, Event{Retry: retry})
	if err != nil {
		b = nil // it has neither id nor type: there is none
	}
	c.outlet().end(b, cause)
}

// ended is called once by the outlet, when nothing is written any more.
func (c *Conn) ended(cause error) {
	c.mu.Lock()
	done, first := c.endedLocked(cause)
	c.mu.Unlock()
	if first && done != nil {
		done(cause)
	}
}

func (c *Conn) endedLocked(cause error) (done func(error), first bool) {
	if c.why != nil {
		return nil, false
	}
	c.why = cause
	c.cancel(cause)
	if c.age != nil {
		c.age.Stop()
	}
	c.opts.Server.remove(c)
	c.opts.closed(cause)
	return c.done, true
}

// cause says why the connection's context has ended: ErrClosed, or what
// matches it, or ErrSlow.
func (c *Conn) cause() error {
	if cause := context.Cause(c.ctx); errors.Is(cause, ErrClosed) || errors.Is(cause, ErrSlow) {
		return cause
	}
	return errLeft // the request's context has ended
}
