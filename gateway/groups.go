package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
)

// group is the group that a request is about.
func (g *Gateway) group(r *http.Request) (string, error) {
	name := r.PathValue("group")
	return name, g.checkGroup(name)
}

// ofGroup answers for a group that is not open, also what is no handshake: a
// page cannot see why one was refused, and asks again plainly.
func (g *Gateway) ofGroup(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := g.group(r); err != nil {
			g.fail(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	}
}

func (g *Gateway) checkGroup(name string) error {
	if err := engine.CheckGroup(name); err != nil {
		return problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if g.opts.Hub == nil || g.opts.Groups != nil && !g.opts.Groups(name) {
		return problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("the group %q is not open here", name)}
	}
	return nil
}

// keeps reports whether what is sent to a group here is kept.
func (g *Gateway) keeps(group string) bool { return g.opts.Keep != nil && g.opts.Keep(group) > 0 }

// publish sends an event to a group.
func (g *Gateway) publish(w http.ResponseWriter, r *http.Request) {
	name, err := g.group(r)
	var body []byte
	if err == nil {
		body, err = g.readBody(w, r)
	}
	var e channels.Event
	if err == nil {
		e, err = eventOf(body)
	}
	if err == nil {
		err = g.groupSend(r.Context(), name, e)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusAccepted, map[string]string{"group": name})
}

// groupSend keeps the event if the group's events are to be kept.
func (g *Gateway) groupSend(ctx context.Context, group string, e channels.Event) error {
	var opts []channels.SendOption
	if g.keeps(group) {
		opts = append(opts, channels.Keep(g.opts.Keep(group)))
	}
	return g.opts.Hub.GroupSend(ctx, group, e, opts...)
}

// eventOf reads an event of a client. What is wrong with it is a problem.
func eventOf(body []byte) (channels.Event, error) {
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

// hubCollectors are the numbers of the hub.
func hubCollectors(s *channels.Stats) []prometheus.Collector {
	total := func(name, help string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "rhubarb_" + name + "_total", Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rhubarb_channels_open", Help: "Connections that are in groups, or may be."},
			func() float64 { return float64(s.Channels.Load()) }),
		total("channels_events", "Events received from the engine.", &s.Events),
		total("channels_handed", "Events handed to connections.", &s.Handed),
		total("channels_dropped", "Of those, events dropped because a consumer was slow.", &s.Dropped),
		total("channels_bad", "Events that could not be read or rendered.", &s.Bad),
		total("channels_failed", "Connections closed for an error of their consumer.", &s.Failed),
		total("history_resumes", "Connections that asked for what a group's history has.", &s.Resumed),
		total("history_reads", "Reads of groups' histories by the engine, which those share.", &s.Reads),
	}
}
