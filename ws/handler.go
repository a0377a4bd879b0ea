package ws

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/rhubarb-go/rhubarb/channels"
)

// Handler serves each connection with a consumer of its own. The consumer's
// Connect runs as part of the HTTP request, so that what it refuses is an HTTP
// status; the context of all its calls has the request's values.
func (s *Server) Handler(hub *channels.Hub, consumer func() channels.Consumer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := s.Check(w, r)
		if err != nil {
			return // it was answered
		}
		// The connection outlives the request, and its context, by far.
		session := channels.Begin(context.WithoutCancel(r.Context()), hub, &transport{request: r, handshake: h}, consumer())
		if session == nil {
			return
		}
		// A goroutine of its own has a small stack, and lets net/http free what
		// it holds for the request.
		s.work.Go(session.Run)
	})
}

// transport is a connection as consumers see it.
type transport struct {
	request   *http.Request
	handshake *Handshake // nil once it has ended
	conn      *Conn
}

func (t *transport) Request() *http.Request { return t.request }

func (t *transport) Accept(subprotocol string) (err error) {
	t.conn, err = t.handshake.Accept(subprotocol)
	return err
}

func (t *transport) Refuse(status int, reason string) {
	if t.conn == nil {
		t.handshake.Refuse(status, reason)
	}
}

func (t *transport) Read(context.Context) (channels.Message, error) {
	t.handshake = nil // it holds what net/http has for the request
	return t.conn.Read()
}

var errNotAccepted = errors.New("ws: the connection is not accepted yet: call Accept before writing in Connect")

func (t *transport) Write(_ context.Context, m channels.Message) error {
	if t.conn == nil {
		return errNotAccepted
	}
	return t.conn.Write(m)
}

func (t *transport) WriteShared(m *channels.Shared) error {
	if t.conn == nil {
		return errNotAccepted
	}
	return t.conn.WriteShared(m)
}

// Flush waits until all that was written before is in the kernel's hands.
func (t *transport) Flush(ctx context.Context) error {
	if t.conn == nil {
		return errNotAccepted
	}
	return t.conn.Flush(ctx)
}

func (t *transport) Close(code int, reason string) error {
	if t.conn == nil {
		return fmt.Errorf("ws: close: %w", errNotAccepted)
	}
	return t.conn.Close(code, reason)
}
