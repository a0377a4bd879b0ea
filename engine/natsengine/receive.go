package natsengine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// receiver takes messages for one process: pull consumers, one per queue and
// priority step, asked from the top.
type receiver struct {
	e       *Engine
	opts    engine.ReceiveOptions
	pulls   [len(engine.PrioritySteps)][]*pull // by step, a pull per queue
	turn    int                                // which queue is asked first
	arrived chan *nats.Msg                     // messages and statuses of all pulls
	revoked chan string
	done    chan struct{}
	poke    chan struct{} // the connection is new: ask again
	closing sync.Once

	gathering chan struct{} // full while a Take asks; a lock that can be waited for in a select

	mu     sync.Mutex
	held   map[string]*held // by task id
	taking bool             // a Take is under way
	stash  []*nats.Msg      // what came between two Takes
	unload *time.Timer      // gives the stash back
}

// held is the engine's part of a delivery.
type held struct {
	r       *receiver
	msg     *nats.Msg
	seq     uint64 // of the message
	prefix  string // of the log
	stream  string // of the log
	round   int
	revoked atomic.Bool
	gone    atomic.Bool  // settled, or another owner has it
	beat    atomic.Int64 // Unix nanoseconds of the last renewal
}

// Receive implements engine.Broker.
func (e *Engine) Receive(ctx context.Context, opts engine.ReceiveOptions) (engine.Receiver, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if opts.Lease == 0 {
		opts.Lease = engine.DefaultLease
	}
	if opts.MaxDeliveries == 0 {
		opts.MaxDeliveries = engine.DefaultMaxDeliveries
	}
	r := &receiver{
		e: e, opts: opts, arrived: make(chan *nats.Msg, 4096), revoked: make(chan string, 1024),
		gathering: make(chan struct{}, 1), done: make(chan struct{}), poke: make(chan struct{}, 1), held: map[string]*held{},
	}
	for _, q := range opts.Queues {
		if err := engine.CheckName("queue name", q, engine.MaxQueue); err != nil {
			return nil, err
		}
		for step := range engine.PrioritySteps {
			p, err := e.openPull(ctx, r, q, step)
			if err != nil {
				r.Close()
				return nil, err
			}
			r.pulls[step] = append(r.pulls[step], p)
		}
	}
	e.mu.Lock()
	e.receivers[r] = struct{}{}
	e.mu.Unlock()
	return r, nil
}

// stashTime is how long a message that came between two Takes waits for the
// next. The standing request of an idle receiver may be served at any time.
const stashTime = 50 * time.Millisecond

// receive passes a message or status on to a Take, or stashes a message. The
// server serves a standing request before later ones.
func (r *receiver) receive(p *pull, m *nats.Msg) {
	if !isStatus(m) || m.Subject == p.inbox+idleReply {
		p.until.Store(0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.taking:
		select {
		case r.arrived <- m:
		default: // more than was ever asked for: it comes back by its lease
		}
	case !isStatus(m):
		r.stashLocked(m)
	}
}

func (r *receiver) stashLocked(m *nats.Msg) {
	r.stash = append(r.stash, m)
	if r.unload == nil {
		r.unload = time.AfterFunc(stashTime, r.giveBack)
	}
}

// giveBack hands back what no Take came for.
func (r *receiver) giveBack() {
	for _, m := range r.unstash(false) {
		r.e.nak(m)
	}
}

// unstash empties the stash, for a Take if one begins.
func (r *receiver) unstash(take bool) []*nats.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taking = r.taking || take
	msgs := r.stash
	r.stash = nil
	if r.unload != nil {
		r.unload.Stop()
		r.unload = nil
	}
	return msgs
}

// nak hands a message that nobody claimed back at once. Should that be lost,
// it comes back by the end of its lease.
func (e *Engine) nak(m *nats.Msg) {
	if err := m.Nak(); err != nil && !e.closed() {
		e.log.Debug("give message back", "err", err)
	}
}

// Take implements engine.Receiver.
func (r *receiver) Take(ctx context.Context, most int) ([]*engine.Delivery, error) {
	if most <= 0 {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for {
		msgs, err := r.gather(ctx, most)
		if len(msgs) > 0 {
			if ds := r.claim(ctx, msgs); len(ds) > 0 {
				return ds, nil
			}
		}
		switch {
		case r.e.closed() || r.over():
			return nil, engine.ErrClosed
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil: // the server is away: it comes back, and so do we
			r.pause(ctx, 200*time.Millisecond)
		}
	}
}

// gather brings messages that are not claimed yet. One Take at a time does so,
// while others claim.
func (r *receiver) gather(ctx context.Context, most int) ([]*nats.Msg, error) {
	select {
	case r.gathering <- struct{}{}:
		defer func() { <-r.gathering }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.done:
		return nil, engine.ErrClosed
	}
	stash := r.unstash(true)
	defer r.rest()
	msgs, err := r.sweep(ctx, most, stash)
	if err == nil && len(msgs) == 0 {
		msgs, err = r.wait(ctx)
	}
	return msgs, err
}

func (r *receiver) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *receiver) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-r.done:
	case <-r.e.done:
	}
}

// rest keeps what came too late for this Take for the next one.
func (r *receiver) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taking = false
	for {
		select {
		case m := <-r.arrived:
			if !isStatus(m) {
				r.stashLocked(m)
			}
		default:
			return
		}
	}
}

// Revoked implements engine.Receiver.
func (r *receiver) Revoked() <-chan string { return r.revoked }

// Close implements engine.Receiver.
func (r *receiver) Close() error {
	r.closing.Do(func() {
		close(r.done)
		r.e.mu.Lock()
		delete(r.e.receivers, r) // nobody sends to revoked from here on
		r.e.mu.Unlock()
		close(r.revoked)
		r.giveBack()
		for _, step := range r.pulls {
			for _, p := range step {
				r.e.unsubscribe(p.sub)
			}
		}
	})
	return nil
}

func (e *Engine) unsubscribe(sub *nats.Subscription) {
	if sub == nil {
		return
	}
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		e.log.Debug("unsubscribe", "err", err)
	}
}
