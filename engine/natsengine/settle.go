package natsengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Settle implements engine.Receiver. The record goes first, by its fence; what
// follows from it is kept inside it; the message goes last. A crash between
// two of these is finished by whoever meets the message.
func (r *receiver) Settle(ctx context.Context, ss []engine.Settlement) []error {
	out := make([]error, len(ss))
	if r.e.closed() {
		return fill(out, engine.ErrClosed)
	}
	ws := make([]*write, len(ss))
	recs := make([]*record, len(ss))
	for i := range ss {
		h, ok := ss[i].Delivery.Token.(*held)
		if !ok || h.gone.Load() {
			out[i] = engine.ErrSuperseded
			continue
		}
		if out[i] = ss[i].Check(); out[i] != nil {
			continue
		}
		if out[i] = r.e.showRetry(ctx, &ss[i]); out[i] != nil {
			continue
		}
		recs[i] = r.e.verdict(&ss[i], h)
		m, err := recs[i].msgOf(h.prefix + "c")
		if err != nil {
			out[i] = err
			continue
		}
		expect(m, uint64(ss[i].Delivery.Fence))
		if recs[i].final() {
			m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
			setTTL(m, keep(ss[i].State))
		}
		ws[i] = r.e.begin(ctx, m)
	}
	for i, w := range ws {
		if w == nil {
			continue
		}
		d := ss[i].Delivery
		h := d.Token.(*held)
		err := r.e.end(w)
		if errors.Is(err, engine.ErrSuperseded) && r.e.isOurs(ctx, h, d, recs[i]) {
			err = nil // an earlier try got through
		}
		if err != nil {
			out[i] = err
			if errors.Is(err, engine.ErrSuperseded) {
				h.forget(d)
			}
			continue
		}
	}
	r.e.at("settled")
	r.e.finishAll(ctx, ss, recs, out)
	return out
}

// finishAll does what the records ask for, and removes the messages.
func (e *Engine) finishAll(ctx context.Context, ss []engine.Settlement, recs []*record, out []error) {
	var over []*nats.Msg
	for i := range ss {
		if out[i] != nil || recs[i] == nil {
			continue
		}
		d := ss[i].Delivery
		h := d.Token.(*held)
		switch {
		case ss[i].Verdict == engine.Return:
			out[i] = e.wrong(once(h.msg.Nak()))
		case recs[i].outbox != nil:
			out[i] = e.finish(ctx, d.ID, recs[i], h.msg)
		default:
			over = append(over, h.msg)
		}
		if out[i] == nil {
			h.forget(d)
		}
	}
	e.ackAll(ctx, over)
}

// ackAll removes messages and waits until the server has done it. Should it
// not, whoever meets a message finds its task settled.
func (e *Engine) ackAll(ctx context.Context, msgs []*nats.Msg) {
	if len(msgs) == 0 {
		return
	}
	late := time.NewTimer(readTry)
	defer late.Stop()
	type ack struct {
		no     uint64
		answer chan *nats.Msg
	}
	sent := make([]ack, 0, len(msgs))
	for _, m := range msgs {
		no, answer, err := e.acks.send(&nats.Msg{Subject: m.Reply, Data: ackBody})
		if err != nil {
			break
		}
		sent = append(sent, ack{no, answer})
	}
	for i, a := range sent {
		select {
		case <-a.answer:
			e.acks.done(a.answer)
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		for _, a := range sent[i:] {
			e.acks.forget(a.no, a.answer)
		}
		return
	}
}

// ackBody is what JetStream takes for an acknowledgement.
var ackBody = []byte("+ACK")

// forget lets go of a delivery that is settled or lost.
func (h *held) forget(d *engine.Delivery) {
	h.gone.Store(true)
	h.r.drop(d.ID, h)
	h.r.e.closeWriter(d.ID, d.Fence)
}

// verdict writes a settlement as the record that stands for it.
func (e *Engine) verdict(s *engine.Settlement, h *held) *record {
	d := s.Delivery
	rec := &record{
		kind: engine.KindEnd, attempt: d.Attempt, deliveries: d.Deliveries, msg: h.seq, round: h.round,
		fence: uint64(d.Fence), n: e.seal(d.ID, d.Fence) + 1,
	}
	switch s.Verdict {
	case engine.Return, engine.Park:
		rec.kind, rec.status = kindFree, engine.Pending
		rec.attempt, rec.deliveries = d.Attempt-1, d.Deliveries-1
	default:
		rec.status = engine.Success
		if s.State != nil {
			rec.status, rec.payload = s.State.Status, s.State.Record
			if !engine.Ready(rec.status) {
				rec.kind = kindRetry
			}
		}
	}
	box := outbox{Reason: s.Reason}
	switch s.Verdict {
	case engine.Bury:
		box.Shelf = string(engine.Dead)
	case engine.Park:
		box.Shelf = string(engine.Parked)
	}
	for _, p := range s.Follow {
		box.Follow = append(box.Follow, followUp{p})
	}
	if box.Shelf != "" || len(box.Follow) > 0 {
		rec.outbox = &box
	}
	return rec
}

// showRetry writes a state that is not final into the stream, where it stays
// when the task's end replaces the control records.
func (e *Engine) showRetry(ctx context.Context, s *engine.Settlement) error {
	if s.Verdict != engine.Done || s.State == nil || engine.Ready(s.State.Status) {
		return nil
	}
	w := e.writer(s.Delivery.ID, s.Delivery.Fence)
	if w == nil {
		return nil // an earlier try of the same settlement
	}
	defer e.at("retry shown")
	return e.append(ctx, w, []entry{{engine.Entry{Kind: engine.KindState, Payload: s.State.Record}, s.State.Status}})
}

// isOurs reports whether the last record is the one we tried to write.
func (e *Engine) isOurs(ctx context.Context, h *held, d *engine.Delivery, rec *record) bool {
	last, err := e.last(ctx, h.stream, h.prefix+"c")
	return err == nil && last != nil && last.fence == uint64(d.Fence) && last.kind == rec.kind &&
		last.status == rec.status && bytes.Equal(last.payload, rec.payload)
}

// finish does what a settlement left in its record, and removes the message.
// It may be done twice: follow-ups carry fixed ids, and a shelf keeps one
// message of an id.
func (e *Engine) finish(ctx context.Context, id string, rec *record, msg *nats.Msg) error {
	if box := rec.outbox; box != nil {
		pubs := make([]engine.Publication, len(box.Follow))
		for i, f := range box.Follow {
			pubs[i] = f.Pub
		}
		for _, receipt := range e.Publish(ctx, pubs) {
			if receipt.Err != nil {
				return fmt.Errorf("send follow-up: %w", receipt.Err)
			}
		}
		e.at("followed")
		if box.Shelf != "" {
			if err := e.shelve(ctx, engine.Shelf(box.Shelf), id, msg, box.Reason, rec.deliveries); err != nil {
				return err
			}
		}
	}
	e.at("finished")
	return e.ack(ctx, msg)
}

// endTask ends a task without its worker.
func (e *Engine) endTask(ctx context.Context, id string, last *record, st *engine.State, box *outbox, msg *nats.Msg) error {
	stream, prefix := logOf(id)
	rec := &record{kind: engine.KindEnd, status: st.Status, attempt: last.attempt, deliveries: last.deliveries, payload: st.Record, outbox: box, msg: last.msg, round: last.round}
	if last.attempt > 0 {
		rec.n = e.lastN(ctx, stream, prefix, last.attempt) + 1
	}
	m, err := rec.msgOf(prefix + "c")
	if err != nil {
		return err
	}
	expect(m, last.seq)
	m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	setTTL(m, keep(st))
	if _, err := e.publish(ctx, m); err != nil {
		return err
	}
	if msg == nil {
		return nil
	}
	return e.finish(ctx, id, rec, msg)
}

// lastN is the number of the last record of an attempt, for an end that its
// writer did not write.
func (e *Engine) lastN(ctx context.Context, stream, prefix string, attempt int) uint64 {
	var n uint64
	for _, kind := range []string{"d", "s"} {
		if rec, err := e.last(ctx, stream, prefix+kind); err == nil && rec != nil && rec.attempt == attempt {
			n = max(n, rec.n)
		}
	}
	return n
}

// ack removes a message and waits until the server has done it.
func (e *Engine) ack(ctx context.Context, m *nats.Msg) error {
	return once(e.ackSync(ctx, m))
}

// once forgives that a message was acknowledged before: a settlement may be
// handed in twice.
func once(err error) error {
	if errors.Is(err, nats.ErrMsgAlreadyAckd) {
		return nil
	}
	return err
}

func (e *Engine) ackLater(m *nats.Msg) {
	if err := m.Ack(); err != nil && !e.closed() {
		e.log.Debug("remove message", "err", err)
	}
}

// keep is how long a state is kept; 0 is for ever.
func keep(s *engine.State) time.Duration {
	switch {
	case s == nil || s.TTL == 0:
		return engine.DefaultTTL
	case s.TTL < 0:
		return 0
	}
	return s.TTL
}

func ttlOf(m *nats.Msg) time.Duration {
	s, err := strconv.Atoi(m.Header.Get("Rb-Keep"))
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

// queueOf reads a queue's subject.
func queueOf(subject string) (queue string, priority int) {
	rest := strings.TrimPrefix(subject, subjectQueue)
	tok, step, _ := strings.Cut(rest, ".")
	if len(step) == 1 {
		priority = int(step[0] - '0')
	}
	return untoken(tok), priority
}
