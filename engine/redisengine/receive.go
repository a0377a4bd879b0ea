package redisengine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// receiver takes messages for one process.
type receiver struct {
	e     *Engine
	opts  engine.ReceiveOptions
	owner string // letters and digits, nobody else's

	turn    atomic.Uint32 // which queue is first
	woken   gate          // opened when there may be something to take
	waiters []*waiter
	sight   glance
	revoked chan string

	life context.Context // ends with the receiver
	stop func()          // ends it; may be called twice
	loop sync.WaitGroup

	// taking is held for reading while a script that takes is under way.
	taking sync.RWMutex
	unsure atomic.Bool // an answer was lost: Redis may say we hold what we do not know of

	mu   sync.Mutex
	held map[string]*engine.Delivery // by its key
	// renewed is when each was taken or extended.
	renewed map[*engine.Delivery]time.Time
	over    bool // revoked is closed
}

// token is what a Delivery carries for us.
type token struct {
	key   string // the id under which scripts know it
	claim string // the whole of it, as it was made
	fence string
	epoch string
}

// Receive implements engine.Broker.
func (e *Engine) Receive(ctx context.Context, opts engine.ReceiveOptions) (engine.Receiver, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if len(opts.Queues) == 0 {
		return nil, errors.New("redis: receive: no queues")
	}
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
	r := &receiver{
		e: e, opts: opts, owner: strconv.FormatUint(rand.Uint64(), 36),
		revoked: make(chan string, 256), held: map[string]*engine.Delivery{}, renewed: map[*engine.Delivery]time.Time{},
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the call
	r.life, r.stop = life, sync.OnceFunc(func() { r.shut(end) })
	err := e.declare(ctx, opts.Queues...)
	if err == nil {
		err = e.admit(ctx, r)
	}
	if err != nil {
		end()
		return nil, err
	}
	r.await()
	return r, nil
}

// Close implements engine.Receiver.
func (r *receiver) Close() error {
	r.stop()
	return nil
}

func (r *receiver) shut(end func()) {
	end()
	r.sight.end()
	r.e.dismiss(r)
	r.loop.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true // a word of Redis may be under way still
	close(r.revoked)
}

func (r *receiver) Revoked() <-chan string { return r.revoked }

// Take implements engine.Receiver.
func (r *receiver) Take(ctx context.Context, most int) ([]*engine.Delivery, error) {
	for tries := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.life.Err() != nil {
			return nil, engine.ErrClosed
		}
		woken := r.woken.next()
		ds, err := r.look(ctx, most)
		switch {
		case len(ds) > 0:
			return ds, nil
		case err == nil:
			tries = 0
			r.arm()
		default:
			if tries++; tries == 3 {
				r.e.log.Warn("take messages, trying on", "queues", r.opts.Queues, "err", err)
			}
			r.pause(ctx, tries)
			continue
		}
		select {
		case <-woken:
		case <-ctx.Done():
		case <-r.life.Done():
		}
	}
}

// pause waits while Redis is away; false if there is a reason to stop.
func (r *receiver) pause(ctx context.Context, tries int) bool {
	t := time.NewTimer(min(20*time.Millisecond<<min(tries, 6), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-r.life.Done():
	}
	return false
}

// look takes what is there now.
func (r *receiver) look(ctx context.Context, most int) ([]*engine.Delivery, error) {
	if r.unsure.Load() {
		ds, err := r.recover(ctx, most)
		if len(ds) > 0 || err != nil {
			return ds, err
		}
	}
	for {
		got, at, err := r.take(ctx, min(most, maxTake))
		if err != nil || len(got) == 0 {
			return nil, err
		}
		if ds := r.sift(got, at); len(ds) > 0 {
			return ds, nil
		}
	}
}

const (
	// maxTake bounds what one script takes.
	maxTake = 100
	// afterStop is how much longer than its context a take waits for an answer
	// that is on its way.
	afterStop = 500 * time.Millisecond
)

// taken is a message as the script hands it over.
type taken struct {
	token
	claim
	poison   bool // handed out too often
	envelope string
}

func (r *receiver) take(ctx context.Context, most int) (got []taken, now time.Time, err error) {
	r.taking.RLock()
	defer r.taking.RUnlock()
	queues := r.opts.Queues
	args := append(r.e.arguments(6+len(queues)), r.owner, millis(r.opts.Lease), strconv.Itoa(most),
		strconv.Itoa(celery.MaxEnvelope), strconv.Itoa(r.opts.MaxDeliveries))
	first := int(r.turn.Add(1)) % len(queues)
	args = append(append(args, queues[first:]...), queues[:first]...)

	// What is taken must not be lost because a worker stops just now.
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(afterStop, cancel) })()
	got, now, err = r.read(r.e.run(call, takeScript, args))
	if err != nil {
		r.unsure.Store(true)
	}
	return got, now, r.e.wrong(err)
}

func (r *receiver) read(res rueidis.RedisResult) ([]taken, time.Time, error) {
	parts, err := res.ToArray()
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(parts) < 2 {
		return nil, time.Time{}, fmt.Errorf("redis: take answered with %d parts", len(parts))
	}
	ms, err := parts[0].AsInt64()
	if err != nil {
		return nil, time.Time{}, err
	}
	epoch := text(parts[1])
	var got []taken
	for parts = parts[2:]; len(parts) > 0; {
		list, rest, err := readTaken(parts, epoch)
		if err != nil {
			return nil, time.Time{}, err
		}
		got, parts = append(got, list...), rest
	}
	return got, time.UnixMilli(ms), nil
}

// readTaken reads the messages of one claim.
func readTaken(parts []rueidis.RedisMessage, epoch string) (got []taken, rest []rueidis.RedisMessage, err error) {
	if len(parts) < 2 {
		return nil, nil, fmt.Errorf("redis: take answered with a list of %d parts", len(parts))
	}
	all := text(parts[0])
	c, ok := readClaim(all)
	n, err := parts[1].AsInt64()
	poison := n < 0
	if poison {
		n = 1
	}
	if err != nil || !ok || 2+2*int(n) > len(parts) {
		return nil, nil, fmt.Errorf("redis: take answered with the claim %q of %d in %d parts: %w", all, n, len(parts), err)
	}
	fence := strconv.FormatUint(c.fence, 10)
	got = make([]taken, n)
	for i := range got {
		got[i] = taken{token{text(parts[2+2*i]), all, fence, epoch}, c, poison, text(parts[3+2*i])}
	}
	return got, parts[2+2*n:], nil
}

// sift makes deliveries of what can be run now, and settles the rest: what is
// no message, what killed its workers too often, and what has time.
func (r *receiver) sift(got []taken, now time.Time) []*engine.Delivery {
	ds := make([]*engine.Delivery, 0, len(got))
	var rest []settlement
	for i := range got {
		d, err := got[i].delivery(now)
		switch {
		case err != nil:
			rest = append(rest, r.bury(d, "the message cannot be read: "+err.Error()))
		case got[i].poison:
			rest = append(rest, r.bury(d, fmt.Sprintf("handed out %d times without being settled: it may kill its workers", d.Deliveries)))
		default:
			if at := hiddenUntil(d.Message); at.After(now) {
				rest = append(rest, settlement{Settlement: engine.Settlement{Delivery: d}, until: at})
				continue
			}
			ds = append(ds, d)
		}
	}
	r.know(ds)
	if len(rest) > 0 {
		r.putAside(rest)
	}
	return ds
}

// delivery reads the envelope. With an error the delivery, which is never nil,
// holds the envelope as its body.
func (t *taken) delivery(now time.Time) (*engine.Delivery, error) {
	d := &engine.Delivery{
		Queue: t.queue, Priority: engine.PrioritySteps[t.step&3], Attempt: t.attempt, Deliveries: t.deliveries,
		Fence: engine.Fence(t.claim.fence), Taken: now, Token: &t.token,
	}
	raw := []byte(t.envelope)
	m, _, priority, err := celery.ParseEnvelope(raw)
	if err == nil && len(m.ID) > engine.MaxID {
		err = fmt.Errorf("its id has %d bytes: %w", len(m.ID), engine.ErrLimit)
	}
	if err != nil {
		d.Message = engine.Message{ID: t.key, Body: raw}
		return d, err
	}
	if m.ID == "" {
		m.ID = t.key
	}
	if engine.Step(priority) == t.step {
		d.Priority = priority
	}
	d.Message = m
	return d, nil
}

// know notes deliveries as handed out.
func (r *receiver) know(ds []*engine.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, d := range ds {
		r.held[d.Token.(*token).key] = d
		r.renewed[d] = now
	}
}

// forget does so for those that are settled or lost.
func (r *receiver) forget(d *engine.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.renewed, d)
	if key := d.Token.(*token).key; r.held[key] == d {
		delete(r.held, key)
	}
}

// bury is the settlement of what the engine dead-letters by itself.
func (r *receiver) bury(d *engine.Delivery, reason string) settlement {
	s := engine.State{ID: d.ID, Status: engine.Failure}
	if r.opts.Shelve != nil {
		s = r.opts.Shelve(d.Message, reason)
	}
	return settlement{Settlement: engine.Settlement{Delivery: d, Verdict: engine.Bury, State: &s, Reason: reason}}
}

// putAside settles what is not handed out. What fails is met again by recover.
func (r *receiver) putAside(rest []settlement) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.life), patience) // whoever takes has gone perhaps
	defer cancel()
	for _, err := range r.settle(ctx, rest) {
		if err != nil && !errors.Is(err, engine.ErrSuperseded) {
			r.unsure.Store(true)
		}
	}
}
