package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/control"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// node is a session as remote control sees it.
type node struct {
	s        *session
	since    time.Time
	shutdown context.CancelFunc
}

// timeLimits are those that remote control set; zero is none.
type timeLimits struct{ soft, hard time.Duration }

// mount makes the session's server.
func (s *session) mount(shutdown context.CancelFunc) error {
	if s.opts.NoControl {
		return nil
	}
	n := &node{s, time.Now(), shutdown}
	server, err := control.NewServer(s.app.Engines().Broker, s.opts.Name, n, &control.ServerOptions{Clock: &s.clock, Logger: s.log})
	if err != nil {
		return fmt.Errorf("worker: run: %w", err)
	}
	s.server = server
	return nil
}

// control answers until ctx ends. A worker that cannot be asked still works.
func (s *session) control(ctx context.Context) {
	if err := s.server.Run(ctx); err != nil && ctx.Err() == nil && s.life.Err() == nil {
		s.log.Warn("remote control", "err", err)
	}
}

// forbidden reports whether remote control revoked the task before it came, as
// workers of Celery remember it.
func (s *session) forbidden(t *celery.Task) bool {
	if s.server == nil {
		return false
	}
	return s.server.Revoked(t.ID) || len(t.StampedHeaders) > 0 && s.server.RevokedStamps(stampsOf(t))
}

// stampsOf reads a task's stamps, each a text or a list of them.
func stampsOf(t *celery.Task) map[string][]string {
	if len(t.StampedHeaders) == 0 {
		return nil
	}
	stamps := make(map[string][]string, len(t.StampedHeaders))
	for _, header := range t.StampedHeaders {
		var one string
		var list []string
		switch raw := t.Stamps[header]; {
		case json.Unmarshal(raw, &one) == nil:
			stamps[header] = []string{one}
		case json.Unmarshal(raw, &list) == nil:
			stamps[header] = list
		}
	}
	return stamps
}

// Held implements control.Observer.
func (n *node) Held() []control.Held {
	var list []control.Held
	for _, r := range n.s.all() {
		if r.known.Load() && !r.over.Load() {
			list = append(list, n.held(r))
		}
	}
	return list
}

// held describes a run. celery/worker/request.py Request.info.
func (n *node) held(r *run) control.Held {
	h := control.Held{Invocation: control.Invocation{
		ID: r.d.ID, Name: r.t.Name, Args: arrayOf(r.t.Args), Kwargs: objectOf(r.t.Kwargs), Type: r.t.Name, Hostname: n.s.opts.Name,
		Acknowledged: r.task.Defaults.AckEarly,
		DeliveryInfo: control.DeliveryInfo{RoutingKey: r.d.Queue, Priority: r.d.Priority, Redelivered: r.d.Deliveries > 1},
	}, ArgsRepr: r.t.ArgsRepr, KwargsRepr: r.t.KwargsRepr, Stamps: stampsOf(r.t)}
	if h.ArgsRepr == "" && h.KwargsRepr == "" {
		h.ArgsRepr, h.KwargsRepr = celery.Repr(r.t.Args, r.t.Kwargs)
	}
	if began := r.began.Load(); began > 0 {
		start, pid := float64(began)/1e9, os.Getpid()
		h.TimeStart, h.WorkerPID = &start, &pid
	}
	return h
}

func arrayOf(args []json.RawMessage) json.RawMessage {
	raw, err := json.Marshal(args)
	if err != nil || args == nil {
		return json.RawMessage("[]")
	}
	return raw
}

func objectOf(kwargs map[string]json.RawMessage) json.RawMessage {
	raw, err := json.Marshal(kwargs)
	if err != nil || kwargs == nil {
		return json.RawMessage("{}")
	}
	return raw
}

// Registered implements control.Observer.
func (n *node) Registered() []control.Registered {
	var list []control.Registered
	for _, name := range slices.Sorted(maps.Keys(n.s.tasks)) {
		list = append(list, control.Registered{Name: name, Attributes: n.s.tasks[name].attributes()})
	}
	return list
}

// attributes are those of celery/app/task.py Task that mean something here.
func (t *task) attributes() map[string]string {
	d := t.Defaults
	a := map[string]string{
		"name": t.Name, "serializer": "json", "max_retries": strconv.Itoa(d.Retry.Max),
		"acks_late": pyBool(!d.AckEarly), "ignore_result": pyBool(d.IgnoreResult), "priority": strconv.Itoa(d.Priority),
	}
	if b := t.rate.Load(); b != nil {
		a["rate_limit"] = b.text
	}
	soft, hard := d.SoftLimit, d.HardLimit
	if l := t.limits.Load(); l != nil {
		soft, hard = l.soft, l.hard
	}
	for name, limit := range map[string]time.Duration{"soft_time_limit": soft, "time_limit": hard} {
		if limit > 0 {
			a[name] = strconv.FormatFloat(limit.Seconds(), 'g', -1, 64)
		}
	}
	return a
}

func pyBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// Queues implements control.Observer.
func (n *node) Queues() []string { return n.s.queues() }

// Revoke implements control.Operator: the engine keeps it, so that workers that
// are away now will not run the tasks either.
func (n *node) Revoke(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	states := make([]engine.State, len(ids))
	for i, id := range ids {
		states[i] = rhubarb.RevokedState(id, "revoked", n.s.app.KeepResults())
	}
	errs := n.s.app.Engines().Broker.Revoke(ctx, states)
	for _, r := range n.s.all() {
		if slices.Contains(ids, r.d.ID) {
			r.stop(rhubarb.ErrRevoked)
		}
	}
	return errors.Join(errs...)
}

// SetRate implements control.Operator.
func (n *node) SetRate(name string, perSecond float64, text string) bool {
	t := n.s.tasks[name]
	if t == nil {
		return false
	}
	var next *rate
	if perSecond > 0 {
		next = newRate(perSecond, text)
	}
	if old := t.rate.Swap(next); old != nil {
		close(old.replaced)
	}
	return true
}

// SetLimits implements control.Operator.
func (n *node) SetLimits(name string, soft, hard time.Duration) bool {
	t := n.s.tasks[name]
	if t == nil {
		return false
	}
	t.limits.Store(&timeLimits{soft, hard})
	return true
}

// Resize implements control.Operator.
func (n *node) Resize(by int) error {
	if !n.s.slots.resize(by) {
		return fmt.Errorf("the pool has %d slots and must keep one", n.s.slots.count())
	}
	if by < 0 {
		n.s.retake() // takes that wait hold slots that are no more
	}
	return nil
}

// AddQueue implements control.Operator.
func (n *node) AddQueue(ctx context.Context, name string) error {
	queues := n.s.queues()
	if slices.Contains(queues, name) {
		return nil
	}
	if err := engine.CheckName("queue name", name, engine.MaxQueue); err != nil {
		return err
	}
	return n.s.replace(ctx, append(queues, name))
}

// CancelQueue implements control.Operator.
func (n *node) CancelQueue(ctx context.Context, name string) error {
	queues := n.s.queues()
	if !slices.Contains(queues, name) {
		return nil
	}
	return n.s.replace(ctx, slices.DeleteFunc(queues, func(q string) bool { return q == name }))
}

// Events implements control.Operator.
func (n *node) Events() control.Events { return n.s.events }

// Shutdown implements control.Operator.
func (n *node) Shutdown(string) { n.shutdown() }
