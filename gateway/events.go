package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rhubarb-go/rhubarb/sse"
)

// follow serves a task's stream as server-sent events. A task that nobody has
// called yet has a stream too: it begins when the task does.
func (g *Gateway) follow(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	sse.ServeStream(w, r, g.app.Result(id).Stream(), &sse.StreamOptions{
		Options: sse.Options{Private: true, Origins: sse.Origins{Allow: g.opts.Origins}, Drain: &g.streams},
		Stats:   &g.stats, Logger: g.log,
	})
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
