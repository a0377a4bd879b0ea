package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/ws"
)

// protocol is the subprotocol in which each message says where it was, so that
// a client can go on from there.
const protocol = "rhubarb.v1"

// Close codes of our own, in the range that is free. RFC 6455, 7.4.2.
const (
	closeExpired = 4401 // the permission has ended: come back with a new one
)

// The messages of a group over WebSocket: the event as JSON, or that in an
// envelope with its id.
var (
	bareEvents = relay(func(e channels.Event, raw json.RawMessage) any { return raw }, `{"type":"history.gap"}`)
	envelopes  = relay(func(e channels.Event, raw json.RawMessage) any { return envelope{ID: e.Position(), Data: raw} }, `{"gap":true}`)
)

type envelope struct {
	ID   engine.Position `json:"id,omitempty"`
	Kind string          `json:"event,omitempty"`
	Data json.RawMessage `json:"data"`
}

// complaint says what is wrong with a client's message: the nth, counted from 1.
type complaint struct {
	Error string `json:"error"`
	N     int    `json:"n,omitempty"`
}

func relay(wrap func(channels.Event, json.RawMessage) any, gap string) *channels.Relay {
	r := channels.NewRelay(func(e channels.Event) (channels.Message, error) {
		raw, err := e.JSON()
		if err == nil {
			raw, err = json.Marshal(wrap(e, raw))
		}
		return channels.Message{Text: true, Data: raw}, err
	})
	r.Gap = channels.Message{Text: true, Data: []byte(gap)}
	return r
}

// offers reports whether a client speaks our subprotocol.
func offers(r *http.Request) bool {
	for _, list := range r.Header["Sec-Websocket-Protocol"] {
		if slices.ContainsFunc(strings.Split(list, ","), func(p string) bool { return strings.TrimSpace(p) == protocol }) {
			return true
		}
	}
	return false
}

// replayOf says what of the history a request asks for: what came after
// ?last_event_id=, or the newest ?last=, else nothing.
func replayOf(r *http.Request) (channels.Replay, error) {
	from := channels.Replay{After: engine.Position(sse.LastEventID(r)), Last: -1}
	if raw := r.URL.Query().Get("last"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &from.Last); err != nil || from.Last < 1 || from.Last > engine.HistoryCapacity {
			return from, problem{Status: http.StatusBadRequest, Detail: "last must be a number of 1 to 1000"}
		}
	}
	return from, nil
}

// socket is one connection to a group.
type socket struct {
	channels.Base
	g     *Gateway
	who   caller
	group string

	numbered bool // speaks our subprotocol
	received int  // messages of the client

	leave  func()
	expiry *time.Timer
}

// Connect follows the group.
func (s *socket) Connect(ctx context.Context, c *channels.Conn) error {
	r := c.Request()
	var from channels.Replay
	var err error
	s.who, s.group, s.numbered = callerOf(r), r.PathValue("group"), offers(r)
	from, err = replayOf(r)
	if err == nil {
		var p *seat
		if p, err = s.g.enter(r); err == nil {
			s.leave = p.taken(func(reason string) { _ = c.Close(ws.ClosePolicy, reason) }) // it may have gone
		}
	}
	if err != nil {
		return refused(err)
	}
	if err := s.follow(ctx, c, from); err != nil {
		s.leave()
		return err
	}
	if until := s.who.until(); !until.IsZero() {
		s.expiry = time.AfterFunc(time.Until(until), func() {
			s.g.metrics.expired.Inc()
			_ = c.Close(closeExpired, "the permission has ended") // likewise
		})
	}
	return nil
}

// follow accepts the connection. A newcomer to a group with a history is told
// where that is, if it speaks our subprotocol.
func (s *socket) follow(ctx context.Context, c *channels.Conn, from channels.Replay) error {
	soon, cancel := context.WithTimeout(ctx, joinWait)
	first, err := s.g.whereNew(soon, s.group, &from)
	cancel()
	if err == nil && s.numbered && first != "" { // what comes from now on is in the history
		if err := c.Accept(""); err != nil {
			return err
		}
		if err := c.WriteJSON(ctx, map[string]engine.Position{"id": first}); err != nil {
			return err
		}
	}
	if err == nil {
		by := bareEvents
		if s.numbered {
			by = envelopes
		}
		err = c.Resume(ctx, s.group, by, from)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, ws.ErrClosed) {
		return err
	}
	s.g.log.Warn("a WebSocket has to come back", "group", s.group, "err", err)
	return &channels.Refused{Status: http.StatusServiceUnavailable, Reason: "the engine did not answer, try again"}
}

// refused is a problem as a consumer says it.
func refused(err error) error {
	var p problem
	if errors.As(err, &p) {
		return &channels.Refused{Status: p.Status, Reason: p.Detail}
	}
	return err
}

// Receive sends what the client says to the group.
func (s *socket) Receive(ctx context.Context, c *channels.Conn, m channels.Message) error {
	s.received++
	err := s.who.may(auth.WriteGroup, s.group)
	var e channels.Event
	if err == nil {
		e, err = eventOf(m.Data)
	}
	if err == nil {
		err = s.g.groupSend(ctx, s.group, e)
	}
	var p problem
	if errors.As(err, &p) {
		said := complaint{Error: p.Detail}
		if s.numbered {
			said.N = s.received
		}
		return c.WriteJSON(ctx, said)
	}
	return err
}

// Disconnect forgets the connection.
func (s *socket) Disconnect(context.Context, *channels.Conn, int) {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.leave()
}

// maxFlight is how many bytes of a stream are written before the client must
// have taken them.
const maxFlight = 64 << 10

// followSocket serves a task's stream over a WebSocket: each record as
// {"id": …, "event": …, "data": …}, closed with 1000 after the end.
func (g *Gateway) followSocket(w http.ResponseWriter, r *http.Request) {
	h, err := g.edge.Check(w, r)
	if err != nil {
		return // it was answered
	}
	id, err := taskID(r)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	if until := callerOf(r).until(); !until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	var p *seat
	if err == nil {
		p, err = g.enter(r)
	}
	if err != nil {
		var p problem
		if !errors.As(err, &p) {
			p = problem{Status: http.StatusInternalServerError}
		}
		h.Refuse(p.Status, p.Detail)
		return
	}
	kicked := make(chan string, 1)
	defer p.taken(func(reason string) { kicked <- reason; cancel() })()
	c, err := h.Accept("")
	if err != nil {
		g.log.Warn("accept a WebSocket", "err", err)
		return
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		defer cancel()
		for err := error(nil); err == nil; _, err = c.Read() { // nothing is expected
		}
	})
	code, reason := g.sendStream(ctx, c, id, engine.Position(sse.LastEventID(r)))
	select {
	case reason = <-kicked:
		code = ws.ClosePolicy
	default:
	}
	if code == closeExpired {
		g.metrics.expired.Inc()
	}
	_ = c.Close(code, reason) // it may have gone
}

// sendStream writes records until the end, and says how to close then.
func (g *Gateway) sendStream(ctx context.Context, c *ws.Conn, id string, after engine.Position) (code int, reason string) {
	flight := 0
	for r, err := range g.app.Result(id).Stream().Tail(ctx, after) {
		if err == nil {
			e := sse.EventOf(r)
			var raw []byte
			data := json.RawMessage(e.Data)
			if !json.Valid(data) {
				data, err = json.Marshal(e.Data)
			}
			if err == nil {
				raw, err = json.Marshal(envelope{ID: r.Pos, Kind: e.Type, Data: data})
			}
			if err == nil {
				err = c.Write(channels.Message{Text: true, Data: raw})
			}
			if flight += len(raw); err == nil && flight > maxFlight {
				flight, err = 0, c.Flush(ctx)
			}
		}
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return closeExpired, "the permission has ended"
		case ctx.Err() != nil, errors.Is(err, ws.ErrClosed):
			return ws.CloseGoingAway, ""
		case err != nil:
			g.log.Warn("serve stream", "stream", id, "err", err)
			return ws.CloseTryLater, "retry=3000"
		}
	}
	return ws.CloseNormal, "end"
}
