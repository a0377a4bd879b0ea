package sse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// response is a connection that net/http has: over HTTP/2, behind middleware,
// or without a Server. It has no goroutine of its own, unless something was
// pushed.
type response struct {
	c    *Conn
	rc   *http.ResponseController
	w    http.ResponseWriter
	beat *time.Timer

	turn chan struct{} // full while someone writes; a lock that can be waited for in a select
	err  error         // why nothing more is written
	last time.Time
	box  outbox

	late atomic.Bool // the last write took most of its time
}

func newResponse(c *Conn, w http.ResponseWriter, r *http.Request) (outlet, error) {
	s := &response{c: c, rc: http.NewResponseController(w), w: w, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{} // so that a drain waits for the headers
	defer s.leave()
	c.opts.headers(w, r)
	w.WriteHeader(http.StatusOK)
	if err := s.writeLocked([]byte(heartbeat)); err != nil {
		return nil, err
	}
	limitBody(w, r, time.Time{})
	s.beat = time.AfterFunc(defaultHeartbeat, s.heartbeat)
	s.beat.Reset(c.opts.Heartbeat) // not before the field is set, which heartbeat reads
	return s, nil
}

func (s *response) write(events []byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.writeLocked(events)
}

// enter waits for the turn to write.
func (s *response) enter() error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.c.ctx.Done():
		return s.gone()
	}
}

func (s *response) leave() { <-s.turn }

// gone is the error of a connection whose context has ended.
func (s *response) gone() error {
	if s.late.Load() { // HTTP/2's deadline struck between the end of a write and its clearing
		s.c.cancel(ErrSlow)
		return ErrSlow
	}
	return s.c.cause()
}

// writeLocked writes and flushes under a deadline of its own, since a server's
// WriteTimeout counts from the request and is not renewed (golang/go#16100).
func (s *response) writeLocked(b []byte) error {
	if s.err == nil && s.c.ctx.Err() != nil {
		s.err = s.gone()
	}
	if s.err != nil {
		return s.err
	}
	begun, patience := time.Now(), s.c.opts.WriteTimeout
	if err := s.flushLocked(b, begun.Add(patience)); err != nil {
		s.err = fmt.Errorf("%w: %w", errLeft, err)
		// HTTP/2 resets the stream at the deadline and does not say why.
		if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) >= patience {
			s.err = ErrSlow
		}
		s.c.cancel(s.err)
		return s.err
	}
	s.last = begun
	s.late.Store(time.Since(begun) > patience/2)
	return nil
}

func (s *response) flushLocked(b []byte, deadline time.Time) error {
	if err := s.setDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	return s.setDeadline(time.Time{})
}

// setDeadline is for where the writer has one; recorders in tests have none.
func (s *response) setDeadline(t time.Time) error {
	if err := s.rc.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// heartbeat sends a comment if the connection was silent for long, and looks
// again when it may have been.
func (s *response) heartbeat() {
	every := s.c.opts.Heartbeat
	select {
	case s.turn <- struct{}{}:
		defer s.leave()
	default: // it is being written to
		s.beat.Reset(every)
		return
	}
	if left := every - time.Since(s.last); left > 0 {
		s.beat.Reset(left)
		return
	}
	if s.writeLocked([]byte(heartbeat)) == nil {
		s.beat.Reset(every)
	}
}

func (s *response) push(key string, frames ...Frame) error {
	if s.c.ctx.Err() != nil {
		return s.gone()
	}
	for _, f := range frames {
		switch begin, ok := s.box.add(key, f); {
		case !ok:
			s.c.cancel(ErrSlow)
			return ErrSlow
		case begin:
			go s.empty()
		}
	}
	return nil
}

// empty writes what was pushed. It ends when nothing is left, or the connection.
func (s *response) empty() {
	for b := s.box.take(nil); b != nil; b = s.box.take(b) {
		if s.write(b) != nil {
			s.box.drop() // why is known
			return
		}
	}
}

func (s *response) flush(ctx context.Context) error {
	select {
	case <-s.box.written():
		return nil
	case <-s.c.ctx.Done():
		return s.gone()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *response) end(last []byte, cause error) {
	defer s.c.cancel(cause)
	if s.enter() != nil {
		return
	}
	defer s.leave()
	if s.writeLocked(last) == nil {
		s.err = cause
	}
}

// close waits for a write under way: the handler's ResponseWriter is good only
// until it returns.
func (s *response) close(cause error) {
	if cause == ErrClosed && s.c.ctx.Err() == nil {
		_ = s.flush(s.c.ctx) // what was pushed before; it may have gone
	}
	s.c.cancel(cause)
	s.turn <- struct{}{}
	if s.err == nil { // from now on nobody touches the ResponseWriter
		s.err = s.c.cause()
	}
	why := s.err
	s.beat.Stop()
	s.leave()
	s.c.ended(why)
}
