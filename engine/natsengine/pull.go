package natsengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// pull is one durable consumer as this receiver sees it.
type pull struct {
	subject string             // where to ask
	sub     *nats.Subscription // answers, in order: to <inbox>.<number> and <inbox>.idle
	inbox   string
	number  uint64       // of the last request that does not wait
	until   atomic.Int64 // Unix nanoseconds when that runs out; 0: there is none
}

const (
	idleReply = ".idle"
	// idlePull is how long an idle receiver's requests stand.
	idlePull = time.Minute
	// maxHeld bounds what all processes together hold of one queue and step.
	maxHeld = 200_000
)

func consumerName(queue string, step int) string {
	name := token(queue)
	if len(name) > 150 { // it becomes a file name
		sum := sha256.Sum256([]byte(queue))
		name = name[:100] + hex.EncodeToString(sum[:12])
	}
	return fmt.Sprintf("%s_%d", name, engine.PrioritySteps[step])
}

func (e *Engine) ensureConsumer(ctx context.Context, queue string, step int, lease time.Duration) (string, error) {
	name := consumerName(queue, step)
	e.mu.Lock()
	known := e.consumers[name]
	e.mu.Unlock()
	if known {
		return name, nil
	}
	_, err := e.api.CreateOrUpdateConsumer(ctx, streamTasks, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: queueSubject(queue, engine.PrioritySteps[step]), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: min(max(lease, time.Second), 10*time.Second), MaxDeliver: -1, MaxAckPending: maxHeld, MaxWaiting: 2048,
	})
	if err != nil {
		return "", fmt.Errorf("natsengine: consumer of queue %q: %w", queue, e.wrong(err))
	}
	e.mu.Lock()
	e.consumers[name] = true
	e.mu.Unlock()
	return name, nil
}

func (e *Engine) openPull(ctx context.Context, r *receiver, queue string, step int) (*pull, error) {
	name, err := e.ensureConsumer(ctx, queue, step, r.opts.Lease)
	if err != nil {
		return nil, err
	}
	p := &pull{subject: "$JS.API.CONSUMER.MSG.NEXT." + streamTasks + "." + name}
	p.inbox = nats.NewInbox()
	p.sub, err = e.sub.Subscribe(p.inbox+".*", func(m *nats.Msg) { r.receive(p, m) })
	if err != nil {
		return nil, fmt.Errorf("natsengine: subscribe: %w", e.wrong(err))
	}
	return p, nil
}

// isStatus tells a status of the server from a task's message.
func isStatus(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header[hdrID] == nil && m.Header.Get("Status") != ""
}

// sweep asks every queue for what it has now, the highest step first. What is
// in the stash comes in its step's turn.
func (r *receiver) sweep(ctx context.Context, most int, stash []*nats.Msg) ([]*nats.Msg, error) {
	var msgs []*nats.Msg
	var err error
	r.turn++
	for i, step := range r.pulls {
		for _, m := range stash {
			if _, priority := queueOf(m.Subject); engine.Step(priority) == i {
				msgs = append(msgs, m)
			}
		}
		for j := range step {
			if err != nil || len(msgs) >= most {
				break
			}
			var got []*nats.Msg
			got, err = r.ask(ctx, step[(r.turn+j)%len(step)], most-len(msgs))
			msgs = append(msgs, got...)
		}
	}
	if err == nil && len(msgs) > 0 {
		msgs, err = r.overtaken(ctx, msgs)
	}
	for len(msgs) > most {
		r.e.nak(msgs[len(msgs)-1])
		msgs = msgs[:len(msgs)-1]
	}
	return msgs, err
}

// overtaken looks again above the step of what was found: the server tells its
// consumers of a new message a moment after it has acknowledged it.
func (r *receiver) overtaken(ctx context.Context, msgs []*nats.Msg) ([]*nats.Msg, error) {
	_, priority := queueOf(msgs[0].Subject)
	var above []*nats.Msg
	for _, step := range r.pulls[:engine.Step(priority)] {
		for _, p := range step {
			got, err := r.ask(ctx, p, len(msgs))
			above = append(above, got...)
			if err != nil || len(above) > 0 {
				return append(above, msgs...), err
			}
		}
	}
	return msgs, nil
}

// ask requests up to n messages without waiting for new ones.
func (r *receiver) ask(ctx context.Context, p *pull, n int) ([]*nats.Msg, error) {
	// A number of its own, since the status that ends a request may come after
	// all that it asked for.
	p.number++
	reply := p.inbox + "." + strconv.FormatUint(p.number, 10)
	if err := r.request(p, reply, fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, n)); err != nil {
		return nil, err
	}
	var msgs []*nats.Msg
	for len(msgs) < n {
		m, err := r.next(ctx, 2*time.Second)
		if err != nil {
			return msgs, err
		}
		switch {
		case m == nil:
			return msgs, errors.New("the server does not answer")
		case !isStatus(m):
			msgs = append(msgs, m)
		case m.Subject == reply:
			return msgs, statusError(m)
		}
	}
	return msgs, nil
}

// next returns what arrives next, or nil after a time.
func (r *receiver) next(ctx context.Context, limit time.Duration) (*nats.Msg, error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case m := <-r.arrived:
		return m, nil
	case <-t.C:
		return nil, nil
	case <-r.poke:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, engine.ErrClosed
	case <-r.e.done:
		return nil, engine.ErrClosed
	}
}

// renew forgets the standing requests of a connection that was lost.
func (r *receiver) renew() {
	for _, step := range r.pulls {
		for _, p := range step {
			p.until.Store(0)
		}
	}
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// statusError is nil for the statuses that mean: nothing more now.
func statusError(m *nats.Msg) error {
	switch s := m.Header.Get("Status"); s {
	case "404", "408", "409", "100":
		return nil
	default:
		return fmt.Errorf("take: %s %s", s, m.Header.Get("Description"))
	}
}

func (r *receiver) request(p *pull, reply string, body []byte) error {
	return r.e.wrong(r.e.sub.PublishRequest(p.subject, reply, body))
}

// wait leaves one request for one message with every queue and step, and
// returns the first that comes.
func (r *receiver) wait(ctx context.Context) ([]*nats.Msg, error) {
	now := time.Now().UnixNano()
	body := fmt.Appendf(nil, `{"batch":1,"expires":%d}`, idlePull)
	for _, step := range r.pulls {
		for _, p := range step {
			if now < p.until.Load() {
				continue
			}
			p.until.Store(now + int64(idlePull))
			if err := r.request(p, p.inbox+idleReply, body); err != nil {
				p.until.Store(0)
				return nil, err
			}
		}
	}
	for {
		if r.idleOut() { // one was used up since the sweep
			return nil, nil
		}
		m, err := r.next(ctx, idlePull)
		if err != nil || m == nil {
			return nil, err
		}
		if !isStatus(m) {
			return []*nats.Msg{m}, nil
		}
		if err := statusError(m); err != nil {
			return nil, err
		}
	}
}

// idleOut reports whether a standing request is missing.
func (r *receiver) idleOut() bool {
	for _, step := range r.pulls {
		for _, p := range step {
			if p.until.Load() == 0 {
				return true
			}
		}
	}
	return false
}
