package memengine

import (
	"context"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/mailbox"
)

// layer is the state of the layer; the engine's mutex guards it.
type layer struct {
	inboxes map[string]*inbox             // by their ids
	groups  map[string]map[*inbox]members // who is in each group
	plain   map[string]*plain
	present map[string]map[string]*account // by group and owner

	histories map[string]*history // by group
	offset    uint64              // the last that was given to a kept message
}

func newLayer() layer {
	return layer{
		inboxes: make(map[string]*inbox), groups: make(map[string]map[*inbox]members),
		plain: make(map[string]*plain), present: make(map[string]map[string]*account),
		histories: make(map[string]*history),
	}
}

// members are the channels of one inbox in one group.
type members map[string]struct{}

// plain is a channel that every process may read.
type plain struct {
	waiting []*letter
	news    chan struct{} // closed when something comes
}

type letter struct {
	msg  engine.LayerMessage
	over alarm
}

// account is what an owner has announced for a group.
type account struct {
	members []byte
	over    alarm
}

type inbox struct {
	*mailbox.Box
	e    *Engine
	once sync.Once
	done chan struct{}
}

// Attach implements engine.Layer.
func (e *Engine) Attach(ctx context.Context) (engine.Inbox, error) {
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	in := &inbox{Box: mailbox.New(), e: e, done: make(chan struct{})}
	e.layer.inboxes[in.ID()] = in
	return in, nil
}

// Send implements engine.Layer.
func (e *Engine) Send(ctx context.Context, msgs []engine.LayerMessage) []error {
	return e.eachMessage(ctx, msgs, engine.LayerMessage.CheckChannel, e.sendLocked)
}

func (e *Engine) sendLocked(m engine.LayerMessage) error {
	id := mailbox.IDOf(m.To)
	if id == "" {
		return e.queueLocked(m)
	}
	if in := e.layer.inboxes[id]; in != nil {
		in.Push(engine.Incoming{Channels: []string{m.To}, Body: m.Body})
	}
	return nil
}

// queueLocked puts a message on a plain channel.
func (e *Engine) queueLocked(m engine.LayerMessage) error {
	p := e.plainLocked(m.To)
	if len(p.waiting) >= engine.LayerCapacity {
		return engine.ErrFull
	}
	l := &letter{msg: m}
	l.over.do = func() {
		p.waiting = p.waiting[1:] // all wait equally long, so this is the oldest
		e.forgetPlainLocked(m.To)
	}
	p.waiting = append(p.waiting, l)
	e.clock.set(&l.over, time.Now().Add(engine.LayerExpiry))
	close(p.news)
	p.news = make(chan struct{})
	return nil
}

func (e *Engine) plainLocked(channel string) *plain {
	p := e.layer.plain[channel]
	if p == nil {
		p = &plain{news: make(chan struct{})}
		e.layer.plain[channel] = p
	}
	return p
}

// forgetPlainLocked drops a channel on which nothing waits. Who waits for it
// sees that and looks again.
func (e *Engine) forgetPlainLocked(channel string) {
	if p := e.layer.plain[channel]; p != nil && len(p.waiting) == 0 {
		close(p.news)
		delete(e.layer.plain, channel)
	}
}

// GroupSend implements engine.Layer.
func (e *Engine) GroupSend(ctx context.Context, msgs []engine.LayerMessage) []error {
	return e.eachMessage(ctx, msgs, engine.LayerMessage.CheckGroup, func(m engine.LayerMessage) error {
		for in := range e.layer.groups[m.To] {
			in.Push(engine.Incoming{Group: m.To, Body: m.Body})
		}
		return nil
	})
}

func (e *Engine) eachMessage(ctx context.Context, msgs []engine.LayerMessage, check func(engine.LayerMessage) error, send func(engine.LayerMessage) error) []error {
	out := make([]error, len(msgs))
	for i, m := range msgs {
		if out[i] = check(m); out[i] != nil {
			continue
		}
		if out[i] = e.begin(ctx); out[i] == nil {
			out[i] = send(m)
			e.mu.Unlock()
		}
	}
	return out
}

// Pop implements engine.Layer.
func (e *Engine) Pop(ctx context.Context, channel string, most int) ([]engine.LayerMessage, error) {
	if err := engine.CheckPlain(channel); err != nil {
		return nil, err
	}
	for {
		if err := e.begin(ctx); err != nil {
			return nil, err
		}
		p := e.plainLocked(channel)
		var out []engine.LayerMessage
		for len(p.waiting) > 0 && len(out) < most {
			e.clock.cancel(&p.waiting[0].over)
			out = append(out, p.waiting[0].msg)
			p.waiting = p.waiting[1:]
		}
		news := p.news
		if len(out) > 0 {
			e.forgetPlainLocked(channel)
		}
		e.mu.Unlock()
		if len(out) > 0 || most <= 0 {
			return out, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			e.mu.Lock()
			e.forgetPlainLocked(channel)
			e.mu.Unlock()
			return nil, ctx.Err()
		case <-e.done:
			return nil, engine.ErrClosed
		}
	}
}

// Announce implements engine.Layer.
func (e *Engine) Announce(ctx context.Context, group, owner string, members []byte, lease time.Duration) error {
	if err := engine.CheckAnnounce(group, owner, members); err != nil {
		return err
	}
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if a := e.layer.present[group][owner]; a != nil {
		e.clock.cancel(&a.over)
		e.absentLocked(group, owner)
	}
	if members == nil {
		return nil
	}
	a := &account{members: members}
	a.over.do = func() { e.absentLocked(group, owner) }
	if e.layer.present[group] == nil {
		e.layer.present[group] = make(map[string]*account)
	}
	e.layer.present[group][owner] = a
	e.clock.set(&a.over, time.Now().Add(whole(lease)))
	return nil
}

func (e *Engine) absentLocked(group, owner string) {
	delete(e.layer.present[group], owner)
	if len(e.layer.present[group]) == 0 {
		delete(e.layer.present, group)
	}
}

// Present implements engine.Layer.
func (e *Engine) Present(ctx context.Context, group string) (map[string][]byte, error) {
	if err := engine.CheckGroup(group); err != nil {
		return nil, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	out := make(map[string][]byte, len(e.layer.present[group]))
	for owner, a := range e.layer.present[group] {
		out[owner] = a.members
	}
	return out, nil
}

// Join implements engine.Inbox.
func (in *inbox) Join(ctx context.Context, group, channel string) error {
	return in.change(ctx, group, channel, func(e *Engine) {
		if e.layer.groups[group] == nil {
			e.layer.groups[group] = make(map[*inbox]members)
		}
		if e.layer.groups[group][in] == nil {
			e.layer.groups[group][in] = make(members)
		}
		e.layer.groups[group][in][channel] = struct{}{}
	})
}

// Leave implements engine.Inbox.
func (in *inbox) Leave(ctx context.Context, group, channel string) error {
	return in.change(ctx, group, channel, func(e *Engine) {
		delete(e.layer.groups[group][in], channel)
		if len(e.layer.groups[group][in]) == 0 {
			in.leaveLocked(group)
		}
	})
}

func (in *inbox) leaveLocked(group string) {
	delete(in.e.layer.groups[group], in)
	if len(in.e.layer.groups[group]) == 0 {
		delete(in.e.layer.groups, group)
	}
}

func (in *inbox) change(ctx context.Context, group, channel string, do func(*Engine)) error {
	if err := engine.CheckGroup(group); err != nil {
		return err
	}
	if err := in.Owns(channel); err != nil {
		return err
	}
	if err := in.e.begin(ctx); err != nil {
		return err
	}
	defer in.e.mu.Unlock()
	select {
	case <-in.done:
		return engine.ErrClosed
	default:
	}
	do(in.e)
	return nil
}

// Receive implements engine.Inbox.
func (in *inbox) Receive(ctx context.Context) ([]engine.Incoming, error) {
	return in.Box.Receive(ctx, in.done, in.e.done)
}

// Close implements engine.Inbox.
func (in *inbox) Close() error {
	in.once.Do(func() {
		in.e.mu.Lock()
		defer in.e.mu.Unlock()
		close(in.done)
		delete(in.e.layer.inboxes, in.ID())
		for group := range in.e.layer.groups {
			if in.e.layer.groups[group][in] != nil {
				in.leaveLocked(group)
			}
		}
	})
	return nil
}
