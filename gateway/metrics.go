package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/ws"
)

// Metrics are the numbers of /metrics, in a registry of their own. Its methods
// may be called at once.
type Metrics struct {
	registry *prometheus.Registry
	tasks    map[string]*rhubarb.Definition

	requests *prometheus.CounterVec
	waits    *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	idle     prometheus.Counter
	kicked   prometheus.Counter
	expired  prometheus.Counter
	runs     *prometheus.CounterVec
	running  prometheus.Gauge
	took     *prometheus.HistogramVec
}

func newMetrics(app *rhubarb.App, tasks map[string]*rhubarb.Definition, streams *sse.Stats, sockets *ws.Stats) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), tasks: tasks,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rhubarb_http_requests_total", Help: "Requests by route and status."}, []string{"route", "code"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rhubarb_http_request_duration_seconds", Help: "Time to answer, streams left out.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}, []string{"route"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rhubarb_auth_refused_total", Help: "Requests that were not let in by cause: " +
				"none (no credentials), bad (such as do not count), forbidden, unavailable (it could not be found out who asks) or " +
				"busy (the user has as many connections as may be)."}, []string{"cause"}),
		idle: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rhubarb_http_unused_connections_total", Help: "Connections that ended before a request was whole, if the server was given to Prepare."}),
		kicked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rhubarb_kicked_total", Help: "Connections ended by kicks."}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rhubarb_ws_expired_total", Help: "WebSockets closed with 4401, because the permission had ended."}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rhubarb_task_runs_total", Help: "Runs of tasks in this process by outcome: " +
				"success, failure, retry, revoked, rejected, ignored or returned (to the queue)."}, []string{"task", "outcome"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rhubarb_tasks_running", Help: "Tasks that run in this process now."}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rhubarb_task_duration_seconds", Help: "Time in the handler.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}, []string{"task"}),
	}
	m.registry.MustRegister(m.requests, m.waits, m.refused, m.idle, m.kicked, m.expired, m.runs, m.running, m.took,
		&queueCollector{broker: app.Engines().Broker},
		collectors.NewBuildInfoCollector(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(streamCollectors(streams)...)
	m.registry.MustRegister(socketCollectors(sockets)...)
	return m
}

// Registry returns the registry, for metrics of the program's own.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

func (m *Metrics) request(path string, status int, took time.Duration, stream bool) {
	m.requests.WithLabelValues(path, strconv.Itoa(status)).Inc()
	if !stream {
		m.waits.WithLabelValues(path).Observe(took.Seconds())
	}
}

// Run is run middleware for a worker in this process: it counts and times
// every run. Give it to worker.Options.Run as the first, outermost one.
func (m *Metrics) Run(next rhubarb.Handler) rhubarb.Handler {
	return func(ctx context.Context, inv *rhubarb.Invocation) (out any, err error) {
		m.running.Inc()
		start, outcome := time.Now(), "failure" // what a panic is
		defer func() {
			m.running.Dec()
			m.took.WithLabelValues(inv.Task).Observe(time.Since(start).Seconds())
			m.runs.WithLabelValues(inv.Task, outcome).Inc()
		}()
		out, err = next(ctx, inv)
		outcome = m.outcome(ctx, inv, err)
		return out, err
	}
}

// outcome names what the worker will make of what the handler returned.
func (m *Metrics) outcome(ctx context.Context, inv *rhubarb.Invocation, err error) string {
	cause := context.Cause(ctx)
	_, rejected := rhubarb.Rejection(err)
	switch {
	case errors.Is(cause, rhubarb.ErrRevoked):
		return "revoked"
	case err == nil:
		return "success"
	case errors.Is(cause, rhubarb.ErrShutdown), errors.Is(cause, rhubarb.ErrSuperseded):
		return "returned"
	case errors.Is(err, rhubarb.Ignore):
		return "ignored"
	case rejected:
		return "rejected"
	}
	if def := m.tasks[inv.Task]; def != nil {
		if _, again := def.Defaults.Retry.Decide(err, inv.Retries); again {
			return "retry"
		}
	}
	return "failure"
}

// queueCollector asks the engine for the queues' numbers at each scrape.
type queueCollector struct{ broker engine.Broker }

var (
	up      = prometheus.NewDesc("rhubarb_engine_up", "Whether the engine told the queues' numbers in time.", nil, nil)
	ready   = prometheus.NewDesc("rhubarb_queue_ready", "Messages that wait to be taken.", []string{"queue"}, nil)
	delayed = prometheus.NewDesc("rhubarb_queue_delayed", "Messages that wait for their time.", []string{"queue"}, nil)
	held    = prometheus.NewDesc("rhubarb_queue_held", "Messages that are taken and not settled.", []string{"queue"}, nil)
	oldest  = prometheus.NewDesc("rhubarb_queue_oldest_seconds", "Age of the oldest ready message.", []string{"queue"}, nil)
)

// Describe implements prometheus.Collector.
func (q *queueCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{up, ready, delayed, held, oldest} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q *queueCollector) Collect(ch chan<- prometheus.Metric) {
	// A collector gets no context from the scrape; the bound is its own.
	ctx, cancel := context.WithTimeout(context.Background(), pingWait)
	defer cancel()
	infos, err := q.broker.Queues(ctx)
	if err != nil {
		ch <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, 1)
	for _, info := range infos {
		for d, v := range map[*prometheus.Desc]float64{
			ready: float64(info.Ready), delayed: float64(info.Delayed), held: float64(info.Held), oldest: info.Oldest.Seconds(),
		} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, info.Name)
		}
	}
}
