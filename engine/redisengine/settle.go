package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// settlement is one of the caller's, or the wish to hide a message until its
// time.
type settlement struct {
	engine.Settlement
	until time.Time
	stray bool // its lease is over: it goes back as from a dead owner
}

// Settle implements engine.Receiver.
func (r *receiver) Settle(ctx context.Context, ss []engine.Settlement) []error {
	own := make([]settlement, len(ss))
	for i, s := range ss {
		own[i].Settlement = s
	}
	return r.settle(ctx, own)
}

func (r *receiver) settle(ctx context.Context, ss []settlement) []error {
	errs := make([]error, len(ss))
	simple := &ackBatch{r: r, errs: errs}
	rest := &settleBatch{r: r, errs: errs}
	for i := range ss {
		if errs[i] = ss[i].Check(); errs[i] != nil {
			continue
		}
		if ss[i].simple() {
			simple.add(ctx, &ss[i], i)
		} else {
			rest.add(ctx, &ss[i], i)
		}
	}
	simple.send(ctx)
	for _, i := range simple.other {
		rest.add(ctx, &ss[i], i)
	}
	rest.send(ctx)
	return errs
}

// settleBatch is what goes to Redis in one script.
type settleBatch struct {
	r     *receiver
	errs  []error
	args  []string
	list  []*engine.Delivery
	at    []int // which error answers each
	to    []string
	bytes int
}

func (b *settleBatch) add(ctx context.Context, s *settlement, i int) {
	if len(b.list) == maxBatch || b.bytes > maxBatchBytes {
		b.send(ctx)
	}
	if b.args == nil {
		b.args = append(b.r.e.arguments(1+9*16), b.r.owner)
	}
	t := s.Delivery.Token.(*token)
	status, record, ttl := "", "", "0"
	if s.State != nil {
		status, record, ttl = s.State.Status, string(s.State.Record), keepFor(s.State.TTL, engine.DefaultTTL)
	} else if ttl = millis(engine.DefaultTTL); s.Verdict == engine.Bury {
		status = engine.Failure
	}
	verdict := verdicts[s.Verdict]
	if s.stray {
		verdict = "o"
	}
	if !s.until.IsZero() {
		verdict, ttl = "w", strconv.FormatInt(ceilMillis(s.until), 10)
	}
	b.args = append(b.args, t.key, t.fence, t.epoch, verdict, status, record, ttl, s.Reason, strconv.Itoa(len(s.Follow)))
	for k := range s.Follow {
		b.args = appendPublication(b.args, &s.Follow[k])
		b.to = append(b.to, s.Follow[k].Queue)
		b.bytes += len(b.args[len(b.args)-1])
	}
	b.bytes += len(record)
	b.list, b.at = append(b.list, s.Delivery), append(b.at, i)
}

// Verdicts as lua/settle.lua names them.
var verdicts = [...]string{engine.Done: "d", engine.Return: "r", engine.Bury: "b", engine.Park: "p"}

func (b *settleBatch) send(ctx context.Context) {
	if len(b.list) == 0 {
		return
	}
	e := b.r.e
	err := e.declare(ctx, b.to...)
	var codes []int64
	if err == nil {
		codes, err = e.codes(e.run(ctx, settleScript, b.args))
	}
	for k, i := range b.at {
		switch {
		case err != nil:
			b.errs[i] = err
		case k < len(codes) && codes[k] == 0:
			b.r.forget(b.list[k])
			e.retains.drop(b.list[k].ID)
		default:
			b.errs[i] = engine.ErrSuperseded
			b.r.forget(b.list[k])
		}
	}
	*b = settleBatch{r: b.r, errs: b.errs}
}

// Extend implements engine.Receiver.
func (r *receiver) Extend(ctx context.Context, ds []*engine.Delivery) []error {
	errs := make([]error, len(ds))
	const most = 1000
	for from := 0; from < len(ds); from += most {
		r.extend(ctx, ds[from:min(from+most, len(ds))], errs[from:])
	}
	return errs
}

func (r *receiver) extend(ctx context.Context, ds []*engine.Delivery, errs []error) {
	args := append(r.e.arguments(2+4*len(ds)), r.owner, millis(r.opts.Lease))
	for _, d := range ds {
		t := d.Token.(*token)
		args = append(args, t.key, t.claim, t.fence, t.epoch)
	}
	codes, err := r.e.codes(r.e.run(ctx, extendScript, args))
	if err == nil {
		r.renew(ds)
	}
	for i := range ds {
		switch {
		case err != nil:
			errs[i] = err
		case i >= len(codes) || codes[i] == 1:
			errs[i] = engine.ErrSuperseded
			r.forget(ds[i])
		case codes[i] == 2:
			errs[i] = engine.ErrRevoked
		}
	}
}

// Revoke implements engine.Broker.
func (e *Engine) Revoke(ctx context.Context, states []engine.State) []error {
	errs := make([]error, len(states))
	for i, s := range states {
		if errs[i] = s.Check(); errs[i] == nil {
			args := append(e.arguments(3), s.ID, string(s.Record), keepFor(s.TTL, engine.DefaultTTL))
			errs[i] = e.again(ctx, func() error { return e.run(ctx, revokeScript, args).Error() })
		}
	}
	return errs
}
