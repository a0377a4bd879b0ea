package worker

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/control"
)

// Stats implements control.Observer.
func (n *node) Stats() control.Stats {
	total := map[string]int64{}
	for name, t := range n.s.tasks {
		if c := t.accepted.Load(); c > 0 {
			total[name] = c
		}
	}
	size := n.s.slots.count()
	return control.Stats{
		Total: total, Uptime: int64(time.Since(n.since).Seconds()), PrefetchCount: size, Broker: brokerOf(n.s.opts.URL),
		Pool: control.Pool{
			Implementation: "rhubarb.worker:goroutines", MaxConcurrency: size,
			Processes:        json.RawMessage(fmt.Sprintf("[%d]", os.Getpid())),
			MaxTasksPerChild: json.RawMessage(`"N/A"`), Timeouts: json.RawMessage("[0, 0]"), Writes: json.RawMessage(`"N/A"`),
		},
	}
}

// brokerOf is what kombu tells of a connection: kombu/connection.py info.
func brokerOf(raw string) control.BrokerInfo {
	info := control.BrokerInfo{
		Transport: "memory", SSL: json.RawMessage("false"), TransportOptions: json.RawMessage("{}"), Alternates: []string{},
	}
	first, _, _ := strings.Cut(raw, ";")
	u, err := url.Parse(first)
	if err != nil || u.Scheme == "" {
		return info
	}
	info.Transport = u.Scheme
	if info.Transport == "rediss" {
		info.Transport, info.SSL = "redis", json.RawMessage("true")
	}
	host, user, db := u.Hostname(), u.User.Username(), strings.Trim(u.Path, "/")
	for to, text := range map[**string]string{&info.Hostname: host, &info.VirtualHost: db} {
		if text != "" {
			*to = &text
		}
	}
	if _, has := u.User.Password(); has && user != "" { // what stands alone may be a token
		info.UserID = &user
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		info.Port = &port
	}
	return info
}

// Settings implements control.Observer.
func (n *node) Settings() []control.Setting {
	o, app := n.s.opts, n.s.app
	url := o.URL
	if url == "" {
		url = "memory://"
	}
	return []control.Setting{
		{Name: "broker_url", Value: url},
		{Name: "result_backend", Value: url},
		{Name: "task_default_queue", Value: app.DefaultQueue(), Default: app.DefaultQueue() == rhubarb.DefaultQueue},
		{Name: "worker_concurrency", Value: n.s.slots.count()},
		{Name: "result_expires", Value: int64(app.KeepResults().Seconds()), Default: app.KeepResults() == 24*time.Hour},
		{Name: "worker_prefetch_multiplier", Value: 1},
		{Name: "task_acks_late", Value: true},
		{Name: "task_reject_on_worker_lost", Value: true},
		{Name: "accept_content", Value: []string{"json"}, Default: true},
		{Name: "task_serializer", Value: "json", Default: true},
		{Name: "result_serializer", Value: "json", Default: true},
		{Name: "control_exchange", Value: "celery", Default: true},
		{Name: "enable_utc", Value: true, Default: true},
		{Name: "timezone", Value: nil, Default: true},
		{Name: "worker_enable_remote_control", Value: true, Default: true},
	}
}
