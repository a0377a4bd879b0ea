package memengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// maxRevoked bounds the ids that wait to be read from Revoked. What does not
// fit is told by Extend.
const maxRevoked = 4096

type receiver struct {
	e       *Engine
	opts    engine.ReceiveOptions
	ready   chan struct{} // one slot: something may be there
	done    chan struct{} // closed by Close
	revoked chan string

	// The engine's mutex guards these.
	closed bool
	turn   int // index of the queue that is first in line
}

// Receive implements engine.Broker.
func (e *Engine) Receive(ctx context.Context, opts engine.ReceiveOptions) (engine.Receiver, error) {
	if len(opts.Queues) == 0 {
		return nil, errors.New("receive: no queue is named")
	}
	opts.Queues = slices.Clone(opts.Queues)
	slices.Sort(opts.Queues)
	opts.Queues = slices.Compact(opts.Queues)
	for _, q := range opts.Queues {
		if err := engine.CheckName("queue name", q, engine.MaxQueue); err != nil {
			return nil, err
		}
	}
	if opts.MaxDeliveries == 0 {
		opts.MaxDeliveries = engine.DefaultMaxDeliveries
	}
	if opts.Lease <= 0 {
		opts.Lease = engine.DefaultLease
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	r := &receiver{
		e:       e,
		opts:    opts,
		ready:   make(chan struct{}, 1),
		done:    make(chan struct{}),
		revoked: make(chan string, maxRevoked),
	}
	e.receivers[r] = struct{}{}
	for _, name := range opts.Queues {
		if q := e.queues[name]; q != nil {
			q.receivers[r] = struct{}{}
		}
	}
	return r, nil
}

// nudge lets a waiting Take look again.
func (r *receiver) nudge() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Take implements engine.Receiver.
func (r *receiver) Take(ctx context.Context, most int) ([]*engine.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ds, poison, err := r.claim(most)
		if err != nil {
			return nil, err
		}
		r.bury(poison)
		if len(ds) > 0 || most <= 0 {
			if len(ds) == most { // there may be more, for another Take that waits
				r.nudge()
			}
			return ds, nil
		}
		if len(poison) > 0 {
			continue
		}
		select {
		case <-r.ready:
		case <-r.done:
			return nil, engine.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim takes what is ready, up to most, and apart from that the messages
// that were handed out too often.
func (r *receiver) claim(most int) (ds []*engine.Delivery, poison []*msg, err error) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.closed || r.e.closed {
		return nil, nil, engine.ErrClosed
	}
	for step := range engine.PrioritySteps {
		for len(ds) < most {
			m := r.pop(step)
			if m == nil {
				break
			}
			if r.opts.MaxDeliveries > 0 && m.deliveries >= r.opts.MaxDeliveries {
				m.holder = r // nobody's until it is buried
				poison = append(poison, m)
				continue
			}
			ds = append(ds, r.hold(m))
		}
	}
	return ds, poison, nil
}

// pop takes the next message of a step out of its queue. Queues take turns.
func (r *receiver) pop(step int) *msg {
	for i := range r.opts.Queues {
		at := (r.turn + i) % len(r.opts.Queues)
		q := r.e.queues[r.opts.Queues[at]]
		if q == nil || q.ready[step].Len() == 0 {
			continue
		}
		m := q.ready[step].Front().Value.(*msg)
		m.unready()
		r.turn = (at + 1) % len(r.opts.Queues)
		return m
	}
	return nil
}

// hold makes the claim of a message.
func (r *receiver) hold(m *msg) *engine.Delivery {
	e, t := r.e, m.task
	m.before = t.state
	e.claim(t)
	e.show(t, engine.State{Status: engine.Started})
	m.fence, m.holder = t.fence, r
	m.deliveries++
	now := time.Now()
	e.clock.set(&m.due, now.Add(r.opts.Lease))
	return &engine.Delivery{
		Message:    m.Message,
		Queue:      m.Queue,
		Priority:   m.Priority,
		Attempt:    t.attempt,
		Deliveries: m.deliveries,
		Fence:      t.fence,
		Taken:      now,
		Token:      m,
	}
}

// bury shelves messages that were handed out too often. The state comes from
// the caller's function, which must not run under the mutex.
func (r *receiver) bury(ms []*msg) {
	for _, m := range ms {
		reason := fmt.Sprintf("handed out %d times and never settled", m.deliveries)
		s := engine.State{ID: m.ID, Status: engine.Failure}
		if r.opts.Shelve != nil {
			s = r.opts.Shelve(m.Message, reason)
		}
		r.e.mu.Lock()
		if m.holder == r { // not revoked meanwhile
			r.e.shelve(m, engine.Dead, reason)
			r.e.finish(m.task, s)
		}
		r.e.mu.Unlock()
	}
}

// valid returns the message of a delivery if its claim is the latest and not
// settled.
func valid(d *engine.Delivery) (*msg, bool) {
	m, ok := d.Token.(*msg)
	if !ok || m.fence == 0 || m.fence != d.Fence || m.task.fence != d.Fence {
		return nil, false
	}
	return m, slices.Contains(m.task.msgs, m)
}

// Extend implements engine.Receiver.
func (r *receiver) Extend(ctx context.Context, ds []*engine.Delivery) []error {
	errs, ok := r.e.enter(ctx, len(ds))
	if !ok {
		return errs
	}
	defer r.e.mu.Unlock()
	if r.closed {
		return repeat(engine.ErrClosed, len(ds))
	}
	now := time.Now()
	for i, d := range ds {
		m, ok := valid(d)
		if !ok {
			errs[i] = engine.ErrSuperseded
			continue
		}
		m.unready() // the lease was over and nobody took it yet
		m.holder = r
		r.e.clock.set(&m.due, now.Add(r.opts.Lease))
		if m.task.wish != nil {
			errs[i] = engine.ErrRevoked
		}
	}
	return errs
}

// Revoked implements engine.Receiver.
func (r *receiver) Revoked() <-chan string { return r.revoked }

// Close implements engine.Receiver.
func (r *receiver) Close() error {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.closeLocked()
	return nil
}

func (r *receiver) closeLocked() {
	if r.closed {
		return
	}
	r.closed = true
	close(r.done)
	close(r.revoked)
	delete(r.e.receivers, r)
	for _, name := range r.opts.Queues {
		if q := r.e.queues[name]; q != nil {
			delete(q.receivers, r)
		}
	}
}
