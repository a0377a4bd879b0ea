package sse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/push"
)

// taken is a connection over HTTP/1.1 that net/http has given up. Its one
// goroutine waits for the client to leave; package push writes.
type taken struct {
	c      *Conn
	nc     net.Conn
	out    *push.Conn
	beat   *push.Timer
	last   atomic.Int64 // when something was pushed last, since the server's base
	flight atomic.Int64 // bytes that were written and may not be out yet
}

const (
	// maxFlight is how much may be under way before Write waits, in bytes.
	maxFlight = 64 << 10

	// maxChatter is how much a client may say on a connection on which it has
	// nothing more to say, in bytes.
	maxChatter = 64 << 10

	// early is how much before its time a heartbeat is due: the wheel may be
	// late by that.
	early = 250 * time.Millisecond
)

// takes reports whether the connection can be taken over from net/http. What
// wraps the writer may want to see, or change, each byte.
func (o *Options) takes(w http.ResponseWriter, r *http.Request) bool {
	_, can := w.(http.Hijacker)
	can = can && w.Header().Get("Content-Encoding") == ""
	return can && o.Server != nil && r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1
}

func newTaken(c *Conn, w http.ResponseWriter) (outlet, error) {
	s := c.opts.Server
	s.start()
	nc, _, err := http.NewResponseController(w).Hijack() // what the client sent too early counts for nothing
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: take over the connection: %w", ErrClosed, err)
	}
	t := &taken{c: c, nc: nc}
	t.out, err = s.pool.Add(nc, &push.ConnOptions{Policy: push.Conflate, WriteTimeout: c.opts.WriteTimeout, OnClose: t.closed})
	if err != nil {
		return nil, errors.Join(errDrained, nc.Close())
	}
	t.beat = s.wheel.NewTimer(t.heartbeat)
	s.work.Go(t.watch)
	if err := t.send(c.opts.answer(w.Header())); err != nil {
		return nil, err
	}
	t.beat.Reset(t.pause())
	return t, nil
}

// answer is the head of the response, with what others have set, and the first
// comment.
func (o *Options) answer(set http.Header) []byte {
	o.setHeaders(set)
	set.Set("Connection", "close") // it cannot be given back
	set.Set("Transfer-Encoding", "chunked")
	set.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = set.Write(&b) // it writes nothing that could split the response, and a Builder never fails
	b.WriteString("\r\n")
	b.Write(firstBeat)
	return []byte(b.String())
}

var firstBeat = chunk([]byte(heartbeat))

// watch waits for the client to leave.
func (t *taken) watch() {
	b := make([]byte, 64)
	for n := 0; n < maxChatter; {
		got, err := t.nc.Read(b)
		if err != nil {
			break
		}
		n += got
	}
	t.out.Close(errLeft) // unless there is a reason already
}

// closed is told by the pool, once, that the socket was closed.
func (t *taken) closed(reason error) {
	t.beat.Stop()
	t.c.outlet() // which is there from now on
	t.c.ended(t.cause(reason))
}

// cause is the pool's reason in our words.
func (t *taken) cause(reason error) error {
	switch {
	case errors.Is(reason, push.ErrSlow):
		return ErrSlow
	case errors.Is(reason, push.ErrClosed): // with its pool
		return errDrained
	case errors.Is(reason, ErrClosed):
		return reason
	}
	return fmt.Errorf("%w: %w", errLeft, reason)
}

func (t *taken) send(b []byte) error { return t.push("", b) }

func (t *taken) push(key string, frames ...Frame) (err error) {
	t.last.Store(int64(time.Since(t.c.opts.Server.base)))
	if key != "" {
		for _, f := range frames {
			err = cmp.Or(err, t.out.PushKey(key, f))
		}
	} else {
		var room [16][]byte // so that few need no memory
		all := room[:0]
		for _, f := range frames {
			all = append(all, f)
		}
		err = t.out.Push(all...)
	}
	if err != nil {
		return t.cause(err)
	}
	return nil
}

func (t *taken) write(events []byte) error {
	if err := t.send(chunk(events)); err != nil {
		return err
	}
	if t.flight.Add(int64(len(events))) < maxFlight {
		return nil
	}
	t.flight.Store(0)
	return t.flush(t.c.ctx)
}

func (t *taken) flush(ctx context.Context) error {
	err := t.out.Flush(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && t.c.ctx.Err() == nil:
		return err // the caller's own
	}
	return t.cause(err)
}

// pause is how long the connection may still be silent.
func (t *taken) pause() time.Duration {
	silent := time.Since(t.c.opts.Server.base) - time.Duration(t.last.Load())
	return max(t.c.opts.Heartbeat-min(early, t.c.opts.Heartbeat/4)-silent, 0)
}

// heartbeat is run by the wheel.
func (t *taken) heartbeat() {
	if t.pause() == 0 && t.send(firstBeat) != nil {
		return // it has ended
	}
	t.beat.Reset(t.pause())
}

func (t *taken) end(last []byte, cause error) {
	t.out.End(append(chunk(last), lastChunk...), cause)
	t.c.cancel(cause)
}

func (t *taken) close(cause error) { t.end(nil, cause) }
