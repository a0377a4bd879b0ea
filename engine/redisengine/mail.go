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

// send hands all over and waits for the answers.
func (m *mail) send(ctx context.Context) {
	for _, p := range m.parts {
		p.box.post(ctx, p)
	}
	for _, p := range m.parts {
		var err error
		select {
		case <-p.done:
			err = p.err
		case <-ctx.Done():
			err = ctx.Err() // it may still be sent; the caller may send it again
		}
		for _, r := range p.receipts {
			r.Err = err
		}
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

// post sends a parcel at once where nothing is under way, and else leaves it to
// those who send.
func (o *outbox) post(ctx context.Context, p *parcel) {
	o.mu.Lock()
	alone := o.sending == 0 && len(o.waiting) == 0
	if !alone {
		o.waiting = append(o.waiting, p)
	}
	if alone || o.sending < senders {
		o.sending++
	} else {
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	if alone {
		o.deliver(ctx, []*parcel{p})
		o.next(ctx)
		return
	}
	go o.drain(context.WithoutCancel(ctx)) // ends when nothing waits, within patience while Redis is away
}

// next goes on after a delivery, in a goroutine if others wait.
func (o *outbox) next(ctx context.Context) {
	o.mu.Lock()
	more := len(o.waiting) > 0
	if !more {
		o.sending--
	}
	o.mu.Unlock()
	if more {
		go o.drain(context.WithoutCancel(ctx)) // as above
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
			known, err = o.e.run(ctx, pushScript, args).AsIntSlice()
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
