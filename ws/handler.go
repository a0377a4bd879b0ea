package ws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/rhubarb-go/rhubarb/channels"
)

// Handler serves each connection with a consumer of its own. The consumer's
// Connect runs as part of the HTTP request, so that what it refuses is an HTTP
// status; the context of all its calls has the request's values, unless
// [Options].Detach. After Connect the request has the headers of the handshake
// itself no more: Connection, Upgrade and Sec-WebSocket-*.
func (s *Server) Handler(hub *channels.Hub, consumer func() channels.Consumer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := s.Check(w, r)
		if err != nil {
			return // it was answered
		}
		t := new(transport)
		t.handshake.Store(h)
		ctx := context.Background()
		if !s.opts.Detach { // the connection outlives the request, and its context, by far
			ctx = context.WithoutCancel(r.Context())
		}
		session := channels.Begin(ctx, hub, t, consumer())
		if session == nil {
			return
		}
		t.conn.Load().settle(ctx)
		t.handshake.Store(nil) // it holds what net/http has for the request
		// A goroutine of its own has a small stack, and lets net/http free what
		// it holds for the request.
		s.work.Go(session.Run)
	})
}

// transport is a connection as consumers see it.
type transport struct {
	handshake atomic.Pointer[Handshake] // nil once it has ended
	conn      atomic.Pointer[Conn]      // nil before it has
}

func (t *transport) Request() *http.Request {
	if h := t.handshake.Load(); h != nil {
		return h.r
	}
	return t.conn.Load().Request()
}

func (t *transport) Accept(subprotocol string) error {
	c, err := t.handshake.Load().Accept(subprotocol)
	t.conn.Store(c)
	return err
}

func (t *transport) Refuse(status int, reason string) {
	if t.conn.Load() == nil {
		t.handshake.Load().Refuse(status, reason)
	}
}

func (t *transport) Read(context.Context) (channels.Message, error) { return t.conn.Load().Read() }

var errNotAccepted = errors.New("ws: the connection is not accepted yet: call Accept before writing in Connect")

func (t *transport) Write(_ context.Context, m channels.Message) error {
	if c := t.conn.Load(); c != nil {
		return c.Write(m)
	}
	return errNotAccepted
}

func (t *transport) WriteShared(messages ...*channels.Shared) error {
	if c := t.conn.Load(); c != nil {
		return c.WriteShared(messages...)
	}
	return errNotAccepted
}

// Flush waits until all that was written before is in the kernel's hands.
func (t *transport) Flush(ctx context.Context) error {
	if c := t.conn.Load(); c != nil {
		return c.Flush(ctx)
	}
	return errNotAccepted
}

func (t *transport) Close(code int, reason string) error {
	if c := t.conn.Load(); c != nil {
		return c.Close(code, reason)
	}
	return fmt.Errorf("ws: close: %w", errNotAccepted)
}
