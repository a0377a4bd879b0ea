package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

const (
	hdrReason     = "Rb-Reason"
	hdrPriority   = "Rb-Priority"
	hdrDeliveries = "Rb-Deliveries"
)

func shelfSubject(shelf engine.Shelf, id string) string {
	return subjectShelf + token(string(shelf)) + "." + token(id)
}

// shelve copies a queue's message to a shelf. The shelf keeps one of an id.
func (e *Engine) shelve(ctx context.Context, shelf engine.Shelf, id string, msg *nats.Msg, reason string, deliveries int) error {
	m := natsMsg(shelfSubject(shelf, id), msg.Data)
	for _, k := range []string{hdrID, hdrTask, hdrType, hdrEncoding, hdrHeaders, hdrProperties, hdrRound} {
		if v := msg.Header[k]; len(v) > 0 {
			m.Header[k] = v
		}
	}
	queue, priority := queueOf(msg.Subject)
	m.Header[hdrQueue] = []string{oneLine(queue)}
	m.Header[hdrPriority] = []string{strconv.Itoa(priority)}
	m.Header[hdrReason] = []string{strconv.Quote(reason)}
	m.Header[hdrDeliveries] = []string{strconv.Itoa(deliveries)}
	_, err := e.publish(ctx, m)
	if err != nil {
		return fmt.Errorf("put on shelf %s: %w", shelf, err)
	}
	return nil
}

// buryGarbage sets aside a message that is not a task's: somebody else wrote
// it into our stream.
func (e *Engine) buryGarbage(ctx context.Context, m *nats.Msg, reason error) {
	id := "unreadable"
	if meta, err := m.Metadata(); err == nil {
		id = "unreadable-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	e.log.Error("message dead-lettered", "id", id, "err", reason)
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[hdrID] = []string{id}
	if err := e.shelve(ctx, engine.Dead, id, m, reason.Error(), 1); err != nil {
		e.log.Error("dead-letter message", "id", id, "err", err)
		return
	}
	e.ackLater(m)
}

// Shelved implements engine.Broker.
func (e *Engine) Shelved(ctx context.Context, shelf engine.Shelf, after string, most int) ([]engine.Shelved, error) {
	if most <= 0 {
		return nil, nil
	}
	seq := uint64(1)
	if after != "" {
		m, err := e.lastMsg(ctx, streamShelf, shelfSubject(shelf, after))
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, fmt.Errorf("shelf %s after %q: %w", shelf, after, engine.ErrNotFound)
		}
		rec, err := readRecord(m)
		if err != nil {
			return nil, err
		}
		seq = rec.seq + 1
	}
	var out []engine.Shelved
	for len(out) < most {
		msgs, err := e.directBatch(ctx, streamShelf, seq, min(most-len(out), 256), subjectShelf+token(string(shelf))+".*")
		if err != nil || len(msgs) == 0 {
			return out, err
		}
		for _, m := range msgs {
			s, at, err := readShelved(m)
			if err != nil {
				return nil, err
			}
			out, seq = append(out, s), at+1
		}
	}
	return out, nil
}

func readShelved(m *nats.Msg) (engine.Shelved, uint64, error) {
	rec, err := readRecord(m)
	if err != nil {
		return engine.Shelved{}, 0, err
	}
	msg, _ := readMessage(m.Header, m.Data)
	priority, err := strconv.Atoi(m.Header.Get(hdrPriority))
	if err != nil {
		priority = 0
	}
	deliveries, err := strconv.Atoi(m.Header.Get(hdrDeliveries))
	if err != nil {
		deliveries = 0
	}
	return engine.Shelved{
		Message: msg, Queue: fromOneLine(m.Header.Get(hdrQueue)), Priority: priority,
		Reason: fromOneLine(m.Header.Get(hdrReason)), Deliveries: deliveries, Since: rec.time,
	}, rec.seq, nil
}

// Restore implements engine.Broker. The state is cleared first, then the
// message sent, then taken off the shelf: a crash leaves it there to be
// restored again, and its id keeps it single.
func (e *Engine) Restore(ctx context.Context, shelf engine.Shelf, ids []string) []error {
	out := make([]error, len(ids))
	for i, id := range ids {
		out[i] = e.restore(ctx, shelf, id)
	}
	return out
}

func (e *Engine) restore(ctx context.Context, shelf engine.Shelf, id string) error {
	m, err := e.lastMsg(ctx, streamShelf, shelfSubject(shelf, id))
	if err != nil {
		return err
	}
	if m == nil {
		return engine.ErrNotFound
	}
	s, seq, err := readShelved(m)
	if err != nil {
		return err
	}
	if err := e.free(ctx, id); err != nil {
		return err
	}
	e.at("freed")
	_, round := readMessage(m.Header, nil)
	pub := e.taskMsg(&engine.Publication{Message: s.Message, Queue: s.Queue, Priority: s.Priority, Round: round})
	pub.Header[jetstream.MsgIDHeader] = []string{token(id) + ":shelf:" + strconv.FormatUint(seq, 10)}
	if _, err := e.publish(ctx, pub); err != nil {
		return err
	}
	e.at("restored")
	return e.purge(ctx, streamShelf, shelfSubject(shelf, id))
}

// free clears a final state and a wish to stop, so that the task can be
// claimed again.
func (e *Engine) free(ctx context.Context, id string) error {
	stream, prefix := logOf(id)
	if err := e.purge(ctx, streamFlags, subjectRev+token(id)); err != nil {
		return err
	}
	for {
		last, err := e.last(ctx, stream, prefix+"c")
		if err != nil || last == nil || !last.final() {
			return err
		}
		rec := &record{kind: kindFree, status: engine.Pending, attempt: last.attempt}
		m, err := rec.msgOf(prefix + "c")
		if err != nil {
			return err
		}
		expect(m, last.seq)
		// The old end must go: a stream has one.
		m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
		if _, err = e.publish(ctx, m); !errors.Is(err, engine.ErrSuperseded) {
			return err
		}
	}
}

// Drop implements engine.Broker.
func (e *Engine) Drop(ctx context.Context, shelf engine.Shelf, ids []string) []error {
	out := make([]error, len(ids))
	for i, id := range ids {
		m, err := e.lastMsg(ctx, streamShelf, shelfSubject(shelf, id))
		switch {
		case err != nil:
			out[i] = err
		case m == nil:
			out[i] = engine.ErrNotFound
		default:
			out[i] = e.purge(ctx, streamShelf, shelfSubject(shelf, id))
		}
	}
	return out
}
