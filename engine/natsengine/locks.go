package natsengine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// natsMsg makes an empty message with headers to be set.
func natsMsg(subject string, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
}

// Acquire implements engine.Locks. The server removes a lease that runs out.
func (e *Engine) Acquire(ctx context.Context, name, owner string, ttl time.Duration) (engine.Fence, error) {
	if err := engine.CheckName("lock name", name, engine.MaxID); err != nil {
		return 0, err
	}
	m := natsMsg(subjectLock+token(name), []byte(owner))
	expect(m, 0)
	setTTL(m, max(ttl, time.Second))
	seq, err := e.publish(ctx, m)
	if errors.Is(err, engine.ErrSuperseded) {
		return 0, engine.ErrHeld
	}
	return engine.Fence(seq), err
}

// term reads the last record of a lock if it is of the term.
func (e *Engine) term(ctx context.Context, name string, fence engine.Fence) (seq uint64, owner []byte, err error) {
	m, err := e.lastMsg(ctx, streamFlags, subjectLock+token(name))
	if err != nil {
		return 0, nil, err
	}
	if m == nil {
		return 0, nil, engine.ErrSuperseded
	}
	rec, err := readRecord(m)
	if err != nil {
		return 0, nil, err
	}
	term := rec.fence // a renewal names the term it prolongs
	if term == 0 {
		term = rec.seq
	}
	if term != uint64(fence) {
		return 0, nil, engine.ErrSuperseded
	}
	return rec.seq, m.Data, nil
}

// Renew implements engine.Locks.
func (e *Engine) Renew(ctx context.Context, name string, fence engine.Fence, ttl time.Duration) error {
	seq, owner, err := e.term(ctx, name, fence)
	if err != nil {
		return err
	}
	renewal := record{kind: "lease", fence: uint64(fence), payload: owner}
	m, err := renewal.msgOf(subjectLock + token(name))
	if err != nil {
		return err
	}
	expect(m, seq)
	setTTL(m, max(ttl, time.Second))
	_, err = e.publish(ctx, m)
	return err
}

// Release implements engine.Locks.
func (e *Engine) Release(ctx context.Context, name string, fence engine.Fence) error {
	seq, _, err := e.term(ctx, name, fence)
	if err != nil {
		return err
	}
	s, err := e.api.Stream(ctx, streamFlags)
	if err == nil {
		err = s.DeleteMsg(ctx, seq)
	}
	return e.wrong(err)
}

// publishKeyed carries a publication with an idempotency key. The key keeps
// the whole message, so that whoever comes second can send it again if the
// first caller died between the two writes.
func (e *Engine) publishKeyed(ctx context.Context, p *engine.Publication) engine.Receipt {
	subject := subjectKey + token(p.Key)
	own := e.taskMsg(p)
	k := natsMsg(subject, own.Data)
	for h, v := range own.Header {
		k.Header["Rb-K-"+h] = v
	}
	k.Header["Rb-K-Subject"] = []string{own.Subject}
	k.Header[hdrID] = []string{oneLine(p.ID)}
	expect(k, 0)
	setTTL(k, max(p.KeyTTL, time.Second))
	_, err := e.publish(ctx, k)
	if err == nil {
		e.at("key kept")
		_, err = e.publish(ctx, own)
		return engine.Receipt{ID: p.ID, Err: err}
	}
	if !errors.Is(err, engine.ErrSuperseded) {
		return engine.Receipt{ID: p.ID, Err: err}
	}
	first, err := e.lastMsg(ctx, streamFlags, subject)
	if err != nil {
		return engine.Receipt{ID: p.ID, Err: err}
	}
	if first == nil { // the key ran out between the two looks
		return e.publishKeyed(ctx, p)
	}
	id := fromOneLine(first.Header.Get(hdrID))
	if id == p.ID { // our own earlier try
		_, err = e.publish(ctx, own)
		return engine.Receipt{ID: p.ID, Err: err}
	}
	return engine.Receipt{ID: id, Duplicate: true, Err: e.sendAgain(ctx, id, first)}
}

// sendAgain sends the message kept under a key unless its task was claimed. A
// second copy of one that waits is dropped when it is taken.
func (e *Engine) sendAgain(ctx context.Context, id string, kept *nats.Msg) error {
	stream, prefix := logOf(id)
	last, err := e.last(ctx, stream, prefix+"c")
	if err != nil || last != nil {
		return err
	}
	m := natsMsg(kept.Header.Get("Rb-K-Subject"), kept.Data)
	for h, v := range kept.Header {
		if len(h) > 5 && h[:5] == "Rb-K-" && h != "Rb-K-Subject" {
			m.Header[h[5:]] = v
		}
	}
	_, err = e.publish(ctx, m)
	return err
}
