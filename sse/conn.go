package sse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options configures a connection. The zero value is ready to use.
type Options struct {
	// Heartbeat is how long a connection may be silent before a comment is
	// sent. Zero means 15 seconds, the standard's advice.
	Heartbeat time.Duration

	// WriteTimeout bounds one write; a reader that takes none for that long is
	// closed. Zero means 10 seconds.
	WriteTimeout time.Duration

	// Private is for streams no cache may keep: Cache-Control is no-store.
	Private bool

	// Origins says which other sites' pages may read; see [Origins].
	Origins Origins

	// Drain, if set, closes the connection when it is told to.
	Drain *Drain
}

const (
	defaultHeartbeat    = 15 * time.Second
	defaultWriteTimeout = 10 * time.Second
)

// ErrClosed is returned by a connection that was closed, here or by the
// client.
var ErrClosed = errors.New("sse: connection is closed")

// Conn is one client's connection. Its methods may be called at once; events
// are written whole, in the order of the calls. It must be closed before the
// handler returns.
type Conn struct {
	rc      *http.ResponseController
	w       http.ResponseWriter
	ctx     context.Context
	cancel  context.CancelCauseFunc
	opts    Options
	beats   sync.WaitGroup
	written chan struct{} // a write happened: the heartbeat starts anew

	mu  sync.Mutex
	buf []byte
	err error
}

// Upgrade answers the request with an event stream: its headers and a first
// comment are sent at once, so that the client knows it is connected. Requests
// that are none for a stream are answered, and an error is returned that needs
// no further answer.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *Options) (*Conn, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if ok, err := o.admit(w, r); !ok {
		return nil, err
	}
	return open(w, r, o)
}

// admit answers what asks for no stream.
func (o *Options) admit(w http.ResponseWriter, r *http.Request) (bool, error) {
	if !o.Origins.allow(w, r) {
		http.Error(w, "sse: this origin may not read the stream: allow it in Origins", http.StatusForbidden)
		return false, errors.New("sse: origin " + r.Header.Get("Origin") + " is not allowed")
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost:
		return true, nil
	case http.MethodHead:
		o.headers(w, r)
		return false, errors.New("sse: HEAD was answered")
	case http.MethodOptions:
		o.Origins.preflight(w)
		return false, errors.New("sse: OPTIONS was answered")
	}
	w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST")
	http.Error(w, "sse: method "+r.Method+" is not allowed", http.StatusMethodNotAllowed)
	return false, errors.New("sse: method " + r.Method + " is not allowed")
}

func (o *Options) headers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	if o.Private {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Length")
	if r.ProtoMajor == 1 { // RFC 9113, 8.2.2: forbidden in HTTP/2
		h.Set("Connection", "keep-alive")
	}
}

func open(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	if o.Heartbeat <= 0 {
		o.Heartbeat = defaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	c := &Conn{rc: http.NewResponseController(w), w: w, opts: o, written: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(r.Context())
	o.headers(w, r)
	w.WriteHeader(http.StatusOK)
	if err := c.write([]byte(heartbeat)); err != nil {
		c.cancel(err)
		if errors.Is(err, http.ErrNotSupported) {
			return nil, errors.New("sse: the response cannot be flushed: every middleware's ResponseWriter must have Unwrap")
		}
		return nil, err
	}
	if !o.Drain.add(c) {
		c.goAway(0)
		return nil, ErrClosed
	}
	c.beats.Go(c.beat)
	return c, nil
}

// Context ends when the client leaves or the connection is closed.
func (c *Conn) Context() context.Context { return c.ctx }

// Send writes an event.
func (c *Conn) Send(e Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.buf, err = AppendEvent(c.buf[:0], e); err != nil {
		return err
	}
	return c.writeLocked(c.buf)
}

// Write writes whole events that AppendEvent made, in one write.
func (c *Conn) Write(events []byte) (int, error) {
	if err := c.write(events); err != nil {
		return 0, err
	}
	return len(events), nil
}

func (c *Conn) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(b)
}

// writeLocked writes and flushes under a deadline of its own, since a server's
// WriteTimeout counts from the request and is not renewed (golang/go#16100).
func (c *Conn) writeLocked(b []byte) error {
	if c.err != nil {
		return c.err
	}
	if err := context.Cause(c.ctx); err != nil {
		c.err = ErrClosed
		return c.err
	}
	err := c.deadline(time.Now().Add(c.opts.WriteTimeout))
	if err == nil {
		_, err = c.w.Write(b)
	}
	if err == nil {
		err = c.rc.Flush()
	}
	if err == nil {
		err = c.deadline(time.Time{})
	}
	if err != nil {
		c.err = err
		c.cancel(err)
		return err
	}
	select {
	case c.written <- struct{}{}:
	default:
	}
	return nil
}

// deadline sets the write deadline where the writer has one; recorders in
// tests have none.
func (c *Conn) deadline(t time.Time) error {
	if err := c.rc.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// beat sends a comment whenever the connection was silent for long.
func (c *Conn) beat() {
	t := time.NewTimer(c.opts.Heartbeat)
	defer t.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.written:
		case <-t.C:
			if c.write([]byte(heartbeat)) != nil {
				return
			}
		}
		t.Reset(c.opts.Heartbeat)
	}
}

// Close ends the connection cleanly, after the last whole event.
func (c *Conn) Close() error {
	c.opts.Drain.remove(c)
	c.cancel(ErrClosed)
	c.beats.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = ErrClosed
	}
	return nil
}

// goAway tells the client when to come back and ends the connection.
func (c *Conn) goAway(retry time.Duration) {
	if retry > 0 {
		if err := c.Send(Event{Retry: retry}); err != nil {
			return // it is gone already
		}
	}
	c.cancel(ErrClosed)
}

// Drain closes connections for a deploy, spread over a time. The zero value is
// ready to use; a nil one does nothing. http.Server.Shutdown waits for
// handlers, so call Close before it.
type Drain struct {
	mu      sync.Mutex
	conns   map[*Conn]struct{}
	closing bool
}

func (d *Drain) add(c *Conn) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return false
	}
	if d.conns == nil {
		d.conns = map[*Conn]struct{}{}
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Drain) remove(c *Conn) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// Len is how many connections are open.
func (d *Drain) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// Close closes every connection within the grace, evenly spread, each with a
// random reconnection time of up to that long, and refuses later ones. It
// returns early when ctx ends, after having closed the rest at once.
func (d *Drain) Close(ctx context.Context, grace time.Duration) {
	d.mu.Lock()
	d.closing = true
	conns := make([]*Conn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	if len(conns) == 0 {
		return
	}
	step := time.NewTicker(max(grace/time.Duration(len(conns)), time.Microsecond))
	defer step.Stop()
	for i, c := range conns {
		c.goAway(time.Second + rand.N(grace+1))
		if i == len(conns)-1 {
			return
		}
		select {
		case <-step.C:
		case <-ctx.Done():
		}
	}
}

// LastEventID is where the client wants to go on: the header that a browser
// sends when it reconnects, else one of the query parameters last_event_id,
// lastEventId, Last-Event-ID and offset. The header wins, since after a
// reconnection it is newer than the URL.
func LastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	q := r.URL.Query()
	for _, k := range []string{"last_event_id", "lastEventId", "Last-Event-ID", "offset"} {
		if id := q.Get(k); id != "" {
			return id
		}
	}
	return ""
}

// Busy answers a client that cannot be served now. An EventSource gives up for
// good at a status of 503, so this is a stream that says when to come back.
func Busy(w http.ResponseWriter, r *http.Request, retry time.Duration) {
	var o Options
	o.headers(w, r)
	w.WriteHeader(http.StatusOK)
	fmt.Fprintf(w, "retry: %d\n\n", (retry + rand.N(retry+1)).Milliseconds())
}

// accepts reports whether the client takes an event stream.
func accepts(r *http.Request) bool {
	a := r.Header.Get("Accept")
	return a == "" || strings.Contains(a, "text/event-stream") || strings.Contains(a, "*/*") || strings.Contains(a, "text/*")
}
