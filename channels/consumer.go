package channels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Consumer handles one connection; each gets a value of its own. Its methods
// are called one at a time. Their context ends five seconds after the client
// has gone: what it said before is handled, what takes longer should stop. A
// [Closed] error closes the connection with its code; any other one, and a
// panic, is logged and closes it with 1011. Disconnect is called nevertheless.
type Consumer interface {
	// Connect is called first. It may join groups, and calls [Conn.Accept]
	// for a subprotocol of its own; otherwise the connection is accepted when
	// it returns nil. A [Refused] error is the answer's status.
	Connect(ctx context.Context, c *Conn) error

	// Receive gets a message from the client.
	Receive(ctx context.Context, c *Conn, m Message) error

	// Event gets an event that was sent to the channel or to a group it is in.
	Event(ctx context.Context, c *Conn, e Event) error

	// Disconnect is called last if the connection was accepted, with the close
	// code: the client's, 1005 if it gave none, 1006 if it just went. Groups
	// are left by themselves.
	Disconnect(ctx context.Context, c *Conn, code int)
}

// Base has all methods of a Consumer, which accept and do nothing. Embed it.
type Base struct{}

// Connect accepts.
func (Base) Connect(context.Context, *Conn) error { return nil }

// Receive ignores the message.
func (Base) Receive(context.Context, *Conn, Message) error { return nil }

// Event ignores the event.
func (Base) Event(context.Context, *Conn, Event) error { return nil }

// Disconnect does nothing.
func (Base) Disconnect(context.Context, *Conn, int) {}

// Message is one message of a client, or for one.
type Message struct {
	Text bool // it is UTF-8; else it is binary
	Data []byte

	// Key, if set, says that only the newest message with that key matters to
	// a client that is behind, as with a price or a position: it takes the
	// place of an older one that still waits to be written. Transports may
	// ignore it. It is not for groups whose clients resume from a history.
	Key string
}

// closeInvalid is for what is not what it should be. RFC 6455, 7.4.1.
const closeInvalid = 1007

// JSON reads a message that should be JSON. The error closes the connection of
// a consumer that returns it with 1007.
func (m Message) JSON(into any) error {
	if err := json.Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("channels: read a message: %w: %w", err, &Closed{Code: closeInvalid, Reason: "the message is not the JSON that is expected"})
	}
	return nil
}

// Refused is the error by which Connect refuses a connection with an HTTP
// status, 403 if it is zero.
type Refused struct {
	Status int
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("refused with %d: %s", r.status(), r.Reason) }

func (r *Refused) status() int {
	if r.Status == 0 {
		return http.StatusForbidden
	}
	return r.Status
}

// Transport is a connection as [Serve] needs it; package ws has one. Write and
// Close may be called at any time, also at once.
type Transport interface {
	Sink
	// Request is what the client asked with.
	Request() *http.Request
	// Accept ends the handshake. An empty subprotocol is none.
	Accept(subprotocol string) error
	// Refuse answers with an HTTP status instead.
	Refuse(status int, reason string)
	// Read waits for the next message. At the end it returns a [*Closed].
	Read(ctx context.Context) (Message, error)
	// Write sends a message whole.
	Write(ctx context.Context, m Message) error
	// Close ends the connection with a code and a reason.
	Close(code int, reason string) error
}

// Closed is the error of a connection that the client has ended, or that a
// consumer ends with a code that may be sent.
type Closed struct {
	Code   int // as in RFC 6455, 7.4; 1005 if it gave none, 1006 if it just went
	Reason string
}

func (c *Closed) Error() string {
	return fmt.Sprintf("connection was closed with %d %s", c.Code, c.Reason)
}

// Conn is what a consumer does with its connection. Its methods may be called
// at once, also from other goroutines.
type Conn struct {
	t        Transport
	ch       *Channel
	accepted bool // guarded by the turn of the callbacks
	failed   bool // likewise
}

// Request returns the request the connection began with, for its path, headers
// and cookies.
func (c *Conn) Request() *http.Request { return c.t.Request() }

// Channel returns the name of this connection's channel.
func (c *Conn) Channel() string { return c.ch.Name() }

// Join makes the connection a member of a group until it leaves or ends.
func (c *Conn) Join(ctx context.Context, group string) error { return c.ch.Join(ctx, group) }

// Follow has the events of a group written to the client as a relay renders
// them, without a call of the consumer: the way for broadcasts to many. It
// lasts until the connection leaves the group or ends. In Connect it accepts
// the connection, once that is in the group, so choose a subprotocol before.
func (c *Conn) Follow(ctx context.Context, group string, r *Relay) error {
	w, err := c.enter(ctx, "follow", group, r)
	if err != nil {
		return err
	}
	for !w.f.catchUp() { // what came before it was accepted
	}
	return nil
}

// Resume is Follow with what the group's history has first: each event once and
// in order, also those that are sent meanwhile. It returns when the history is
// written.
func (c *Conn) Resume(ctx context.Context, group string, r *Relay, from Replay) error {
	w, err := c.enter(ctx, "resume", group, r)
	if err != nil {
		return err
	}
	return w.finish(ctx, from)
}

// enter has the events of a group wait for the connection, and accepts it: who
// knows that they are connected must miss nothing.
func (c *Conn) enter(ctx context.Context, what, group string, r *Relay) (*replayer, error) {
	w, most := c.ch.replayer(group, r, c.t), acceptWait
	if c.accepted {
		most = resumeWait
	}
	if err := w.enter(ctx, what, most); err != nil {
		return nil, err
	}
	if err := c.Accept(""); err != nil {
		return nil, errors.Join(err, c.ch.Leave(context.WithoutCancel(ctx), group))
	}
	return w, nil
}

// Leave ends Join, Follow and Resume.
func (c *Conn) Leave(ctx context.Context, group string) error { return c.ch.Leave(ctx, group) }

// Present announces the connection in a group until it leaves it or ends.
func (c *Conn) Present(ctx context.Context, group string, m Member) error {
	return c.ch.Present(ctx, group, m)
}

// Members returns who is present in a group.
func (c *Conn) Members(ctx context.Context, group string) ([]Member, error) {
	return c.ch.hub.Members(ctx, group)
}

// Send sends an event to a channel.
func (c *Conn) Send(ctx context.Context, channel string, e Event) error {
	return c.ch.hub.Send(ctx, channel, e)
}

// GroupSend sends an event to a group.
func (c *Conn) GroupSend(ctx context.Context, group string, e Event, opts ...SendOption) error {
	return c.ch.hub.GroupSend(ctx, group, e, opts...)
}

// Accept ends the handshake with one of the subprotocols that the client
// offered, or none. It is for Connect alone, and needed only to choose one or
// to write before Connect returns.
func (c *Conn) Accept(subprotocol string) error {
	if c.accepted {
		return nil
	}
	if err := c.t.Accept(subprotocol); err != nil {
		return err
	}
	c.accepted = true
	return nil
}

// Write sends a message to the client.
func (c *Conn) Write(ctx context.Context, m Message) error { return c.t.Write(ctx, m) }

// WriteText sends a text.
func (c *Conn) WriteText(ctx context.Context, text string) error {
	return c.t.Write(ctx, Message{Text: true, Data: []byte(text)})
}

// WriteJSON sends a value as JSON in a text message.
func (c *Conn) WriteJSON(ctx context.Context, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("channels: write: %w", err)
	}
	return c.t.Write(ctx, Message{Text: true, Data: raw})
}

// Close ends the connection with a code of 1000 or of 3000 to 4999.
func (c *Conn) Close(code int, reason string) error { return c.t.Close(code, reason) }
