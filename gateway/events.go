package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/ws"
)

// follow serves a task's stream as server-sent events. A task that nobody has
// called yet has a stream too: it begins when the task does.
func (g *Gateway) follow(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	seat, err := g.enter(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	defer seat.missed()
	sse.ServeStream(w, r, g.app.Result(id).Stream(), &sse.StreamOptions{
		Options: g.streamOptions(r), Logger: g.log,
		Attached: func(c *sse.Conn) func() { return seat.taken(func(string) { c.Cancel() }) },
	})
}

func (g *Gateway) streamOptions(r *http.Request) sse.Options {
	return sse.Options{Private: true, Origins: sse.Origins{Allow: g.opts.Origins}, Server: &g.streams, Until: callerOf(r).until()}
}

// socketCollectors shows what happened to WebSockets.
func socketCollectors(s *ws.Stats) []prometheus.Collector {
	total := func(name, help, cause string, n func() uint64) prometheus.Collector {
		opts := prometheus.CounterOpts{Name: "rhubarb_ws_" + name + "_total", Help: help}
		if cause != "" {
			opts.ConstLabels = prometheus.Labels{"cause": cause}
		}
		return prometheus.NewCounterFunc(opts, func() float64 { return float64(n()) })
	}
	out := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rhubarb_ws_connections", Help: "Open WebSockets."},
			func() float64 { return float64(s.Open.Load()) }),
		total("opened", "WebSockets opened.", "", s.Opened.Load),
		total("refused", "Handshakes refused, by cause.", "handshake", s.BadHandshake.Load),
		total("refused", "Handshakes refused, by cause.", "origin", s.BadOrigin.Load),
		total("refused", "Handshakes refused, by cause.", "busy", s.Busy.Load),
		total("refused", "Handshakes refused, by cause.", "application", s.Refused.Load),
	}
	out = append(out, total("dropped", "Messages dropped for slow clients.", "", s.Dropped), total("conflated", "Messages that a newer one of their key replaced.", "", s.Conflated))
	for _, cause := range ws.Causes() {
		out = append(out, total("closed", "WebSockets closed, by cause.", cause.String(), func() uint64 { return s.Closed(cause) }))
	}
	return out
}

// streamCollectors shows what happened to event streams.
func streamCollectors(s *sse.Stats) []prometheus.Collector {
	type counter interface{ Load() uint64 }
	total := func(name, help, cause string, n counter) prometheus.Collector {
		opts := prometheus.CounterOpts{Name: "rhubarb_sse_" + name + "_total", Help: help}
		if cause != "" {
			opts.ConstLabels = prometheus.Labels{"cause": cause}
		}
		return prometheus.NewCounterFunc(opts, func() float64 { return float64(n.Load()) })
	}
	out := []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rhubarb_sse_connections", Help: "Open event streams."},
			func() float64 { return float64(s.Open.Load()) }),
		total("opened", "Event streams opened.", "", &s.Opened),
		total("events", "Events sent.", "", &s.Events),
		total("bytes", "Bytes of events sent.", "", &s.Bytes),
		total("gaps", "Times a reader was told that records are gone.", "", &s.Gaps),
	}
	for cause, n := range map[string]counter{"forbidden": &s.Refused, "busy": &s.Busy, "at_end": &s.AtEnd} {
		out = append(out, total("refused", "Requests that got no event stream, by cause.", cause, n))
	}
	for cause, n := range map[string]counter{
		"end": &s.Ended, "left": &s.Left, "slow": &s.Slow, "engine": &s.Failed, "drained": &s.Drained, "expired": &s.Expired,
	} {
		out = append(out, total("closed", "Event streams closed, by cause.", cause, n))
	}
	return out
}
