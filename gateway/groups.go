package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
)

// leaveWait bounds leaving a group whose listener has gone.
const leaveWait = 5 * time.Second

// group is the group that a request is about.
func (g *Gateway) group(r *http.Request) (string, error) {
	name := r.PathValue("group")
	if err := engine.CheckGroup(name); err != nil {
		return "", problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if g.opts.Groups != nil && !g.opts.Groups(name) {
		return "", problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("the group %q is not open here", name)}
	}
	return name, nil
}

// publish sends an event to a group.
func (g *Gateway) publish(w http.ResponseWriter, r *http.Request) {
	name, err := g.group(r)
	var e channels.Event
	if err == nil {
		e, err = g.readEvent(w, r)
	}
	if err == nil {
		err = g.opts.Hub.GroupSend(r.Context(), name, e)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusAccepted, map[string]string{"group": name})
}

func (g *Gateway) readEvent(w http.ResponseWriter, r *http.Request) (channels.Event, error) {
	body, err := g.readBody(w, r)
	if err != nil {
		return channels.Event{}, err
	}
	if at := invalidUTF8(body); at >= 0 {
		return channels.Event{}, problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the body is not UTF-8: byte 0x%02x at %s", body[at], place(body, at))}
	}
	if err := syntax(body); err != nil {
		return channels.Event{}, err
	}
	var parts map[string]json.RawMessage
	var typ string
	if json.Unmarshal(body, &parts) != nil || json.Unmarshal(parts["type"], &typ) != nil {
		return channels.Event{}, fields(http.StatusUnprocessableEntity, FieldError{"type", `must be text: want {"type": "chat.message", …}`})
	}
	delete(parts, "type")
	rest, err := json.Marshal(parts)
	if err != nil {
		return channels.Event{}, err
	}
	e, err := channels.JSONEvent(typ, rest)
	if errors.Is(err, channels.ErrEvent) {
		err = problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
	}
	return e, err
}

// members tells who is present in a group.
func (g *Gateway) members(w http.ResponseWriter, r *http.Request) {
	name, err := g.group(r)
	var list []channels.Member
	if err == nil {
		list, err = g.opts.Hub.Members(r.Context(), name)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"group": name, "members": list})
}

// listen follows a group as server-sent events: each is a message whose data
// is the event as JSON, its type included. There is nothing to go on from
// after a reconnection: the layer keeps no history.
func (g *Gateway) listen(w http.ResponseWriter, r *http.Request) {
	name, err := g.group(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	l := &listener{g: g, group: name, open: make(chan struct{})}
	ch, err := g.opts.Hub.Open(l.hear)
	if err == nil {
		defer l.leave(r, ch)
		err = ch.Join(r.Context(), name) // before the client is told that it listens
	}
	if err != nil {
		close(l.open)
		g.fail(w, r, err)
		return
	}
	l.conn, err = sse.Upgrade(w, r, &sse.Options{Private: true, Origins: sse.Origins{Allow: g.opts.Origins}, Drain: &g.streams})
	close(l.open)
	if err != nil { // it was answered
		return
	}
	defer l.conn.Close()
	g.stats.Opened.Add(1)
	g.stats.Open.Add(1)
	defer g.stats.Open.Add(-1)
	<-l.conn.Context().Done()
}

// listener is one connection that follows a group.
type listener struct {
	g     *Gateway
	group string
	open  chan struct{} // closed when conn is there, or will not be
	conn  *sse.Conn
}

func (l *listener) hear(e channels.Event) {
	<-l.open
	if l.conn == nil {
		return
	}
	raw, err := e.JSON()
	if err != nil {
		l.g.log.Warn("an event that JSON cannot say", "group", l.group, "err", err)
		return
	}
	if err := l.conn.Send(sse.Event{Data: string(raw)}); err != nil { // it ends by itself
		if errors.Is(err, sse.ErrSlow) {
			l.g.stats.Slow.Add(1)
		}
		return
	}
	l.g.stats.Events.Add(1)
	l.g.stats.Bytes.Add(uint64(len(raw)))
}

func (l *listener) leave(r *http.Request, ch *channels.Channel) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), leaveWait)
	defer cancel()
	if err := ch.Close(ctx); err != nil && !errors.Is(err, engine.ErrClosed) {
		l.g.log.Warn("leave a group", "group", l.group, "err", err)
	}
}
