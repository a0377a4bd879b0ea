package natsengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// claim makes deliveries of messages: for each, a record under the task's
// control subject that says who runs which attempt. A task that was never
// claimed takes one write; all are under way at once.
func (r *receiver) claim(ctx context.Context, msgs []*nats.Msg) []*engine.Delivery {
	type attempt struct {
		h *held
		d *engine.Delivery
		w *write
	}
	var all []attempt
	for _, m := range msgs {
		h, d, err := r.read(m)
		if err != nil {
			r.e.buryGarbage(ctx, m, err)
			continue
		}
		if !r.hold(d.ID, h) {
			r.e.ackLater(m) // a duplicate of one that runs here
			continue
		}
		rec := &record{kind: engine.KindReset, status: engine.Started, attempt: 1, deliveries: 1, msg: h.seq, round: h.round}
		out, err := rec.msgOf(h.prefix + "c")
		if err != nil {
			r.drop(d.ID, h)
			continue
		}
		expect(out, 0)
		all = append(all, attempt{h, d, r.e.begin(ctx, out)})
	}
	ds := make([]*engine.Delivery, 0, len(all))
	for _, a := range all {
		err := r.e.end(a.w)
		if errors.Is(err, engine.ErrSuperseded) {
			err = r.reclaim(ctx, a.h, a.d)
		} else if err == nil {
			a.d.Attempt, a.d.Deliveries, a.d.Fence = 1, 1, engine.Fence(a.w.seq)
		}
		if err != nil || a.d.Fence == 0 {
			r.drop(a.d.ID, a.h)
			if err != nil && ctx.Err() == nil && !r.e.closed() {
				r.e.log.Warn("claim task", "task", a.d.Task, "id", a.d.ID, "err", err)
			}
			if ctx.Err() != nil {
				r.e.nak(a.h.msg)
			}
			continue
		}
		r.e.at("claimed")
		r.e.openWriter(a.d.ID, a.d.Fence, a.d.Attempt)
		ds = append(ds, a.d)
	}
	return ds
}

// read makes a delivery of a queue's message.
func (r *receiver) read(m *nats.Msg) (*held, *engine.Delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, nil, fmt.Errorf("message without metadata: %w", err)
	}
	msg, round := readMessage(m.Header, m.Data)
	if msg.ID == "" {
		return nil, nil, errors.New("message without an id: it was not sent by rhubarb")
	}
	if len(msg.ID) > engine.MaxID {
		return nil, nil, fmt.Errorf("message with an id of %d bytes", len(msg.ID))
	}
	queue, priority := queueOf(m.Subject)
	h := &held{r: r, msg: m, seq: meta.Sequence.Stream, round: round}
	h.stream, h.prefix = logOf(msg.ID)
	h.beat.Store(time.Now().UnixNano())
	return h, &engine.Delivery{Message: msg, Queue: queue, Priority: priority, Taken: time.Now(), Token: h}, nil
}

// reclaim claims a task that was claimed before, or finishes what an earlier
// owner had begun. A delivery without a fence is not to be run.
func (r *receiver) reclaim(ctx context.Context, h *held, d *engine.Delivery) error {
	for {
		last, err := r.e.last(ctx, h.stream, h.prefix+"c")
		if err != nil {
			return err
		}
		if last == nil {
			last = &record{} // it expired between the two looks
		}
		switch {
		case last.final(), last.kind == kindRetry && last.round >= h.round && last.msg == h.seq:
			return r.e.finish(ctx, d.ID, last, h.msg) // settled, but the message was left over
		case last.kind == engine.KindReset && last.msg != h.seq:
			return r.e.ack(ctx, h.msg) // a duplicate of one that is running
		}
		next := &record{kind: engine.KindReset, status: engine.Started, attempt: last.attempt + 1, deliveries: 1, msg: h.seq, round: h.round}
		if last.kind == engine.KindReset || last.kind == kindFree {
			next.deliveries = last.deliveries + 1
		}
		done, err := r.forbid(ctx, h, d, next, last)
		if err == nil && done {
			return nil
		}
		if err == nil {
			var out *nats.Msg
			if out, err = next.msgOf(h.prefix + "c"); err == nil {
				expect(out, last.seq)
				var seq uint64
				if seq, err = r.e.publish(ctx, out); err == nil {
					d.Attempt, d.Deliveries, d.Fence = next.attempt, next.deliveries, engine.Fence(seq)
					return nil
				}
			}
		}
		if !errors.Is(err, engine.ErrSuperseded) {
			return err
		}
		// somebody else wrote meanwhile: look again
	}
}

// forbid ends a task that must not be run again: its worker died too often, or
// somebody revoked it while it ran.
func (r *receiver) forbid(ctx context.Context, h *held, d *engine.Delivery, next, last *record) (bool, error) {
	if r.opts.MaxDeliveries > 0 && next.deliveries > r.opts.MaxDeliveries {
		reason := fmt.Sprintf("handed out %d times and never settled: it may kill its workers", last.deliveries)
		st := engine.State{ID: d.ID, Status: engine.Failure}
		if r.opts.Shelve != nil {
			st = r.opts.Shelve(d.Message, reason)
		}
		return true, r.e.endTask(ctx, d.ID, last, &st, &outbox{Shelf: string(engine.Dead), Reason: reason}, h.msg)
	}
	if last.kind != engine.KindReset && last.kind != kindFree {
		return false, nil // nobody can have asked for a running one to stop
	}
	flag, err := r.e.lastMsg(ctx, streamFlags, subjectRev+token(d.ID))
	if err != nil || flag == nil {
		return false, err
	}
	st := engine.State{ID: d.ID, Status: engine.Revoked, Record: flag.Data, TTL: ttlOf(flag)}
	return true, r.e.endTask(ctx, d.ID, last, &st, nil, h.msg)
}

// hold notes a message as ours. It refuses a second message of a task that is
// held already; the same one again means that our claim ran out.
func (r *receiver) hold(id string, h *held) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.held[id]; old != nil && old.seq != h.seq {
		return false
	}
	r.held[id] = h
	return true
}

func (r *receiver) drop(id string, h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[id] == h {
		delete(r.held, id)
	}
}

// Extend implements engine.Receiver. A claim that was renewed in time is ours;
// after a silence longer than the lease the record is read again.
func (r *receiver) Extend(ctx context.Context, ds []*engine.Delivery) []error {
	out := make([]error, len(ds))
	for i, d := range ds {
		h, ok := d.Token.(*held)
		if !ok || h.gone.Load() {
			out[i] = engine.ErrSuperseded
			continue
		}
		if time.Since(h.beaten()) > r.opts.Lease {
			if out[i] = r.verify(ctx, h, d); out[i] != nil {
				continue
			}
		}
		if err := h.msg.InProgress(); err != nil {
			out[i] = r.e.wrong(err)
		}
	}
	err := r.e.flush(ctx) // tells whether the server is there
	for i, d := range ds {
		h, ok := d.Token.(*held)
		switch {
		case out[i] != nil || !ok:
		case err != nil:
			out[i] = err
		default:
			h.beat.Store(time.Now().UnixNano())
			if h.revoked.Load() {
				out[i] = engine.ErrRevoked
			}
		}
	}
	return out
}

func (r *receiver) verify(ctx context.Context, h *held, d *engine.Delivery) error {
	last, err := r.e.last(ctx, h.stream, h.prefix+"c")
	if err != nil {
		return err
	}
	if last == nil || engine.Fence(last.seq) != d.Fence {
		h.forget(d)
		return engine.ErrSuperseded
	}
	return nil
}

func (h *held) beaten() time.Time { return time.Unix(0, h.beat.Load()) }
