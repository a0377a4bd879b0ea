package redisengine

import (
	"context"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// keeper puts back what dead owners held and moves what is due. Every engine
// with a receiver has one, and each does what there is to do.
type keeper struct {
	kick chan struct{} // has room for one
	end  context.CancelFunc
	deaf func()
}

const (
	// keepEvery is how often it looks when it knows of nothing: a Go worker
	// is known by it, for known.
	keepEvery = 2500 * time.Millisecond
	known     = 15 * time.Second
)

// admit makes a receiver known, and listens to what its owner is told.
func (e *Engine) admit(ctx context.Context, r *receiver) error {
	deaf, err := e.subs.listen(ctx, e.own("own:"+r.owner), false, func(id []byte, again bool) { r.tell(string(id)) })
	if err != nil {
		return err
	}
	context.AfterFunc(r.life, deaf)
	k := &keeper{kick: make(chan struct{}, 1)}
	if k.deaf, err = e.subs.listen(ctx, e.own("due"), false, func([]byte, bool) { k.wake() }); err != nil {
		deaf()
		return err
	}
	e.mu.Lock()
	e.receivers[r] = struct{}{}
	if old := e.keeper; old != nil || e.closed() {
		e.mu.Unlock()
		k.deaf()
		if old != nil {
			return e.again(ctx, func() error { return e.keep(ctx, nil) })
		}
		return engine.ErrClosed
	}
	var life context.Context
	life, k.end = context.WithCancel(context.WithoutCancel(ctx)) // ends with the last receiver
	e.keeper = k
	e.mu.Unlock()
	e.loops.Go(func() { k.run(life, e) })
	return e.again(ctx, func() error { return e.keep(ctx, nil) })
}

// dismiss forgets a receiver, and with the last one the keeper.
func (e *Engine) dismiss(r *receiver) {
	e.mu.Lock()
	delete(e.receivers, r)
	k := e.keeper
	if len(e.receivers) > 0 {
		k = nil
	} else {
		e.keeper = nil
	}
	e.mu.Unlock()
	if k != nil {
		k.end()
		k.deaf()
	}
	if e.closed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.life), time.Second)
	defer cancel()
	for _, q := range r.opts.Queues {
		// Should it fail, the queue is taken to have a Go worker a little longer.
		_ = e.client.Do(ctx, e.client.B().Zrem().Key(e.own("c:"+q)).Member(r.owner).Build()).Error()
	}
}

func (k *keeper) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

func (k *keeper) run(ctx context.Context, e *Engine) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-k.kick:
		case <-ctx.Done():
			return
		}
		wait := keepEvery
		if err := e.keep(ctx, &wait); err != nil {
			wait = keepEvery / 10
			e.blink()
		} else {
			e.collect(ctx)
		}
		t.Reset(min(wait, keepEvery))
	}
}

// keep does once what there is to do, and says in how long there is more.
func (e *Engine) keep(ctx context.Context, wait *time.Duration) error {
	args := append(e.arguments(8), millis(known))
	e.mu.Lock()
	for r := range e.receivers {
		for _, q := range r.opts.Queues {
			args = append(args, r.owner, q)
		}
	}
	e.mu.Unlock()
	ms, err := e.run(ctx, keepScript, args).AsInt64()
	if err == nil && wait != nil {
		*wait = time.Duration(ms) * time.Millisecond
	}
	return err
}

// blink has what waits for messages do so on new connections, and look before:
// those it waited on may have gone silent too.
func (e *Engine) blink() {
	for _, r := range e.all() {
		r.sight.end()
		r.woken.open()
	}
}

// tell passes on that a task should stop. Should nobody listen, Extend says it
// too.
func (r *receiver) tell(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.held[key]
	if d == nil || r.over {
		return
	}
	select {
	case r.revoked <- d.ID:
	default:
	}
}
