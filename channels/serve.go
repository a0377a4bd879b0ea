package channels

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Close codes. RFC 6455, 7.4.1.
const (
	closeGone  = 1006 // never on the wire: it went without a word
	closeError = 1011
)

// endTime is how long callbacks may go on after the client has gone before
// their context ends.
const endTime = 5 * time.Second

// leaveTime bounds leaving the groups of a connection that has ended.
const leaveTime = 5 * time.Second

// Session is one connection being served. Made by [Begin].
type Session struct {
	consumer Consumer
	conn     Conn
	ctx      context.Context
	cancel   context.CancelFunc

	turn     turn           // of the callback that runs
	gone     atomic.Bool    // there is nobody to hand events to
	handling atomic.Bool    // somebody handles messages
	messages chan Message   // read and not handled; made for the first
	work     sync.WaitGroup // those who handle them
}

// maxAhead is how many messages of a client may wait while one is handled.
// Then it is not read from, until there is room.
const maxAhead = 16

// Serve runs one connection to its end: the consumer's callbacks, one at a
// time, for what the client and the layer send. It returns when the connection
// has ended and its channel has left all groups.
func Serve(ctx context.Context, h *Hub, t Transport, consumer Consumer) {
	if s := Begin(ctx, h, t, consumer); s != nil {
		s.Run()
	}
}

// Begin is the first half of [Serve], up to the end of the handshake: a
// transport that is no longer an HTTP request then can run the rest elsewhere.
// It returns nil if the connection was not accepted. Otherwise Run must be
// called.
func Begin(ctx context.Context, h *Hub, t Transport, consumer Consumer) *Session {
	s := &Session{consumer: consumer}
	s.ctx, s.cancel = context.WithCancel(ctx)
	ch, err := h.Open(s.event)
	if err != nil {
		defer s.cancel()
		h.log.Error("open a channel", "err", err)
		t.Refuse(http.StatusServiceUnavailable, "no channel")
		return nil
	}
	s.conn.t, s.conn.ch = t, ch
	if !s.connect() {
		s.leave()
		return nil
	}
	return s
}

func (s *Session) hub() *Hub { return s.conn.ch.hub }

// Run is the rest of [Serve].
//
// An idle connection waits in the functions that it calls, whose frames are kept
// small: then its goroutine's stack need not grow.
func (s *Session) Run() { s.end(s.read()) }

// end runs what comes after the client has gone.
//
//go:noinline
func (s *Session) end(code int) {
	defer s.leave()
	s.gone.Store(true)
	late := time.AfterFunc(endTime, s.cancel)
	s.work.Wait() // what it said before it went is handled
	late.Stop()
	s.cancel()
	s.turn.take(nil)
	defer s.turn.give()
	s.disconnect(code)
}

// disconnect is called with the turn.
func (s *Session) disconnect(code int) {
	end, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), leaveTime)
	defer cancel()
	if err := s.call(func() error { s.consumer.Disconnect(end, &s.conn, code); return nil }); err != nil {
		s.hub().log.Warn("disconnect failed", "channel", s.conn.Channel(), "err", err)
	}
}

func (s *Session) leave() {
	s.cancel()
	ch := s.conn.ch
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), leaveTime)
	defer cancel()
	if err := ch.Close(ctx); err != nil {
		s.hub().log.Warn("leave groups", "channel", ch.Name(), "err", err)
	}
}

// connect reports whether the connection was accepted.
func (s *Session) connect() bool {
	s.turn.take(nil)
	defer s.turn.give()
	err := s.call(func() error { return s.consumer.Connect(s.ctx, &s.conn) })
	if err == nil {
		err = s.conn.Accept("")
	}
	if err == nil {
		return true
	}
	s.gone.Store(true)
	var refused *Refused
	switch {
	case s.conn.accepted:
		s.fail("connect", err)
		s.cancel()
		s.disconnect(codeOfEnd(err))
	case errors.As(err, &refused):
		s.conn.t.Refuse(refused.status(), refused.Reason)
	default:
		s.hub().stats.Failed.Add(1)
		s.hub().log.Warn("connection failed", "in", "connect", "channel", s.conn.Channel(), "err", err)
		s.conn.t.Refuse(http.StatusInternalServerError, "")
	}
	return false
}

// read hands over what the client sends until it ends, and tells with what
// code.
func (s *Session) read() int {
	for {
		m, err := s.conn.t.Read(s.ctx)
		if err != nil {
			return codeOf(err)
		}
		if !s.take(m) {
			return closeGone
		}
	}
}

// codeOf is the close code of a connection that has ended.
//
//go:noinline
func codeOf(err error) int {
	var closed *Closed
	if errors.As(err, &closed) {
		return closed.Code
	}
	return closeGone
}

// codeOfEnd is the close code of a connection that a consumer's error ended.
func codeOfEnd(err error) int {
	var closed *Closed
	if errors.As(err, &closed) {
		return closed.Code
	}
	return closeError
}

// take has a message handled, after those before it.
//
//go:noinline
func (s *Session) take(m Message) bool {
	if s.messages == nil { // most connections only listen
		s.messages = make(chan Message, maxAhead)
	}
	select {
	case s.messages <- m:
	case <-s.ctx.Done():
		return false
	}
	if s.handling.CompareAndSwap(false, true) {
		s.work.Go(s.handle)
	}
	return true
}

// handle handles the messages that were read and ends when there are none, so
// that an idle connection has no goroutine but the one that reads.
func (s *Session) handle() {
	for {
		select {
		case m := <-s.messages:
			s.turn.take(nil)
			s.guard("receive", func() error { return s.consumer.Receive(s.ctx, &s.conn, m) })
			s.turn.give()
			continue
		default:
		}
		s.handling.Store(false)
		if len(s.messages) == 0 || !s.handling.CompareAndSwap(false, true) {
			return
		}
	}
}

// event is called by the channel, one event at a time.
func (s *Session) event(e Event) {
	if !s.turn.take(s.ctx.Done()) {
		return
	}
	defer s.turn.give()
	if s.gone.Load() || s.ctx.Err() != nil {
		return
	}
	s.guard("event", func() error { return s.consumer.Event(s.ctx, &s.conn, e) })
}

// guard runs a callback, and closes the connection if it fails. After that
// nothing is run.
func (s *Session) guard(what string, callback func() error) {
	if s.conn.failed {
		return
	}
	if err := s.call(callback); err != nil {
		s.fail(what, err)
	}
}

// call turns a panic into an error.
func (s *Session) call(callback func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return callback()
}

func (s *Session) fail(what string, err error) {
	s.conn.failed = true
	if s.ctx.Err() != nil { // the client has gone, which is why
		return
	}
	var closed *Closed
	if errors.As(err, &closed) && s.conn.t.Close(closed.Code, closed.Reason) == nil {
		return // it is the client's fault, or the end
	}
	s.hub().stats.Failed.Add(1)
	s.hub().log.Warn("connection failed", "in", what, "channel", s.conn.Channel(), "err", err)
	if err := s.conn.t.Close(closeError, "internal error"); err != nil {
		s.hub().log.Debug("close", "err", err)
	}
}
