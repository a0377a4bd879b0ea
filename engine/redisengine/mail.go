package redisengine

import (
	"context"
	"strconv"
	"sync"

	"github.com/rhubarb-go/rhubarb/engine"
)

// mail is the plain publications of one call, by list: those that have neither
// time nor key.
type mail struct {
	e      *Engine
	parts  []*parcel
	latest map[*outbox]*parcel
}

// parcel is some publications of one call for one list. They are answered
// together.
type parcel struct {
	box      *outbox
	args     []string // id and envelope of each
	receipts []*engine.Receipt
	bytes    int
	done     chan struct{}
	err      error // once done is closed
}

func (m *mail) add(p *engine.Publication, r *engine.Receipt) {
	box := m.e.outbox(p.Queue, engine.Step(p.Priority))
	part := m.latest[box]
	if part == nil || len(part.receipts) == maxBatch || part.bytes > maxBatchBytes {
		part = &parcel{box: box, done: make(chan struct{})}
		m.parts = append(m.parts, part)
		if m.latest == nil {
			m.latest = map[*outbox]*parcel{}
		}
		m.latest[box] = part
	}
	envelope := envelopeOf(p, "0")
	part.args = append(part.args, p.ID, envelope)
	part.bytes += len(envelope)
	part.receipts = append(part.receipts, r)
}

// send hands all over and waits for the answers. Of one list one parcel is under
// way at a time, so that it keeps the order of the call.
func (m *mail) send(ctx context.Context) {
	last := map[*outbox]*parcel{}
	for _, p := range m.parts {
		if before := last[p.box]; before != nil {
			_ = before.wait(ctx) // it is asked again below
		}
		last[p.box] = p
		p.box.post(ctx, p)
	}
	for _, p := range m.parts {
		err := p.wait(ctx)
		for _, r := range p.receipts {
			r.Err = err
		}
	}
}

// wait returns the answer. With ctx's error the parcel may still be sent; its
// caller may send it again.
func (p *parcel) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outbox gathers what is published at once for one list, by any number of
// callers, into few scripts.
type outbox struct {
	e     *Engine
	queue string
	step  string
	list  string

	mu      sync.Mutex
	waiting []*parcel // bounded by who waits for them
	sending int
}

// senders is how many scripts of one outbox may be under way.
const senders = 2

// maxOutboxes bounds how many lists are gathered for; those above are sent one
// by one.
const maxOutboxes = 10_000

func (e *Engine) outbox(queue string, step int) *outbox {
	key := e.list(queue, step)
	e.mu.Lock()
	defer e.mu.Unlock()
	box := e.outboxes[key]
	if box == nil {
		box = &outbox{e: e, queue: queue, step: strconv.Itoa(step), list: key}
		if len(e.outboxes) < maxOutboxes {
			e.outboxes[key] = box
		}
	}
	return box
}

// post leaves a parcel to those who send, and starts another if there are too
// few.
func (o *outbox) post(ctx context.Context, p *parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, p)
	if o.sending < senders {
		o.sending++
		go o.drain(context.WithoutCancel(ctx)) // ends when nothing waits, within patience while Redis is away
	}
}

func (o *outbox) drain(ctx context.Context) {
	for {
		o.mu.Lock()
		n, count, bytes := 0, 0, 0
		for n < len(o.waiting) && (n == 0 || count+len(o.waiting[n].receipts) <= maxBatch && bytes <= maxBatchBytes) {
			count += len(o.waiting[n].receipts)
			bytes += o.waiting[n].bytes
			n++
		}
		batch := o.waiting[:n:n]
		if o.waiting = o.waiting[n:]; n == 0 {
			o.waiting = nil
			o.sending--
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		o.deliver(ctx, batch)
	}
}

// deliver sends parcels in one script. It may be repeated: what Redis has it
// knows.
func (o *outbox) deliver(ctx context.Context, batch []*parcel) {
	n := 1
	for _, p := range batch {
		n += len(p.args)
	}
	args := append(o.e.arguments(n), o.list)
	for _, p := range batch {
		args = append(args, p.args...)
	}
	err := o.e.declare(ctx, o.queue)
	var known []int64
	if err == nil {
		err = o.e.again(ctx, func() (err error) {
			known, err = pushScript.Exec(ctx, o.e.direct, []string{o.e.own("")}, args).AsIntSlice()
			return err
		})
	}
	if err == nil && len(known) > 0 {
		err = o.settle(ctx, args[len(args)-n+1:], known)
	}
	for _, p := range batch {
		p.err = err
		close(p.done)
	}
}

// settle publishes those of which something is known with the script that looks
// closer.
func (o *outbox) settle(ctx context.Context, messages []string, known []int64) error {
	args := o.e.arguments(8 * len(known))
	for _, k := range known {
		if i := 2 * (int(k) - 1); i >= 0 && i+1 < len(messages) {
			args = append(args, messages[i], o.queue, o.step, "0", "0", messages[i+1], "", "0")
		}
	}
	return o.e.again(ctx, func() error { return o.e.run(ctx, publishScript, args).Error() })
}
