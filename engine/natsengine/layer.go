package natsengine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/mailbox"
)

// Groups and the channels of inboxes are plain subjects of NATS, to which a
// process subscribes once for each group it is in. A publish needs no answer:
// the layer promises at most once.
const (
	subjectInbox = "rb.ch."  // rb.ch.<inbox's id>
	subjectGroup = "rb.grp." // rb.grp.<group>
	hdrChannel   = "Rb-Channel"
)

// inbox is one process's side of the layer.
type inbox struct {
	*mailbox.Box
	e       *Engine
	arrived chan *nats.Msg // all its subscriptions in one, which keeps their order
	once    sync.Once
	done    chan struct{}
	pump    sync.WaitGroup
	own     *nats.Subscription

	mu     sync.Mutex
	groups map[string]*membership
}

// membership is the channels of an inbox in one group.
type membership struct {
	sub      *nats.Subscription
	channels map[string]struct{}
}

// maxArrived bounds what the connection may be ahead of the pump.
const maxArrived = 4096

// Attach implements engine.Layer.
func (e *Engine) Attach(ctx context.Context) (engine.Inbox, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	in := &inbox{
		Box: mailbox.New(), e: e, arrived: make(chan *nats.Msg, maxArrived), done: make(chan struct{}), groups: map[string]*membership{},
	}
	var err error
	if in.own, err = e.sub.ChanSubscribe(subjectInbox+in.ID(), in.arrived); err == nil {
		err = e.flush(ctx)
	}
	if err != nil {
		e.unsubscribe(in.own)
		return nil, e.wrong(err)
	}
	in.pump.Go(in.run)
	return in, nil
}

// run empties what the connection fills.
func (in *inbox) run() {
	again := in.e.currentEpoch()
	for {
		select {
		case m := <-in.arrived:
			in.take(m)
		case <-again:
			again = in.e.currentEpoch()
			in.lost()
		case <-in.done:
			return
		case <-in.e.done:
			return
		}
	}
}

func (in *inbox) take(m *nats.Msg) {
	if len(m.Subject) > len(subjectGroup) && m.Subject[:len(subjectGroup)] == subjectGroup {
		msg := engine.Incoming{Group: untoken(m.Subject[len(subjectGroup):]), Body: m.Data}
		if len(m.Header) > 0 { // the server's, of a kept message; a bad number is as good as none
			msg.Offset, _ = sequence(m, jetstream.SequenceHeader)
			msg.Before, _ = sequence(m, jetstream.LastSequenceHeader)
		}
		in.Push(msg)
		return
	}
	in.Push(engine.Incoming{Channels: m.Header[hdrChannel], Body: m.Data})
}

// lost tells each group that the connection was.
func (in *inbox) lost() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for group := range in.groups {
		in.Push(engine.Incoming{Group: group, Lost: true})
	}
}

// Join implements engine.Inbox.
func (in *inbox) Join(ctx context.Context, group, channel string) error {
	if err := in.check(ctx, group, channel); err != nil {
		return err
	}
	if err := in.add(group, channel); err != nil {
		return in.e.wrong(err)
	}
	// Also who finds the group subscribed to waits: it may be only just.
	return in.e.flush(ctx)
}

func (in *inbox) add(group, channel string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.groups == nil { // closed meanwhile
		return engine.ErrClosed
	}
	m := in.groups[group]
	if m == nil {
		sub, err := in.e.sub.ChanSubscribe(subjectGroup+token(group), in.arrived)
		if err != nil {
			return err
		}
		m = &membership{sub: sub, channels: map[string]struct{}{}}
		in.groups[group] = m
	}
	m.channels[channel] = struct{}{}
	return nil
}

// Leave implements engine.Inbox.
func (in *inbox) Leave(ctx context.Context, group, channel string) error {
	if err := in.check(ctx, group, channel); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	m := in.groups[group]
	if m == nil {
		return nil
	}
	if delete(m.channels, channel); len(m.channels) == 0 {
		in.e.unsubscribe(m.sub)
		delete(in.groups, group)
	}
	return nil
}

func (in *inbox) check(ctx context.Context, group, channel string) error {
	if err := engine.CheckGroup(group); err != nil {
		return err
	}
	if err := in.Owns(channel); err != nil {
		return err
	}
	select {
	case <-in.done:
		return engine.ErrClosed
	case <-in.e.done:
		return engine.ErrClosed
	default:
		return ctx.Err()
	}
}

// Receive implements engine.Inbox.
func (in *inbox) Receive(ctx context.Context) ([]engine.Incoming, error) {
	return in.Box.Receive(ctx, in.done, in.e.done)
}

// Missed implements engine.Inbox.
func (in *inbox) Missed() uint64 {
	n := in.Box.Missed()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, m := range in.groups {
		if lost, err := m.sub.Dropped(); err == nil {
			n += uint64(max(lost, 0))
		}
	}
	if lost, err := in.own.Dropped(); err == nil {
		n += uint64(max(lost, 0))
	}
	return n
}

// Close implements engine.Inbox.
func (in *inbox) Close() error {
	in.once.Do(func() {
		close(in.done)
		in.pump.Wait() // it may need the lock
		in.mu.Lock()
		defer in.mu.Unlock()
		in.e.unsubscribe(in.own)
		for _, m := range in.groups {
			in.e.unsubscribe(m.sub)
		}
		in.groups = nil
	})
	return nil
}

// GroupSend implements engine.Layer.
func (e *Engine) GroupSend(ctx context.Context, msgs []engine.LayerMessage) []error {
	return e.eachMessage(ctx, msgs, engine.LayerMessage.CheckGroup, func(m engine.LayerMessage) error {
		return e.pub.Publish(subjectGroup+token(m.To), m.Body)
	})
}

// Send implements engine.Layer.
func (e *Engine) Send(ctx context.Context, msgs []engine.LayerMessage) []error {
	return e.eachMessage(ctx, msgs, engine.LayerMessage.CheckChannel, func(m engine.LayerMessage) error {
		id := mailbox.IDOf(m.To)
		if id == "" {
			return e.pushPlain(ctx, m)
		}
		msg := natsMsg(subjectInbox+token(id), m.Body)
		msg.Header[hdrChannel] = []string{m.To}
		return e.pub.PublishMsg(msg)
	})
}

func (e *Engine) eachMessage(ctx context.Context, msgs []engine.LayerMessage, check func(engine.LayerMessage) error, send func(engine.LayerMessage) error) []error {
	out := make([]error, len(msgs))
	for i, m := range msgs {
		if out[i] = check(m); out[i] != nil {
			continue
		}
		if e.closed() {
			out[i] = engine.ErrClosed
		} else if out[i] = ctx.Err(); out[i] == nil {
			out[i] = e.wrong(send(m))
		}
	}
	return out
}

// Announce implements engine.Layer. The server removes a lease that runs out.
func (e *Engine) Announce(ctx context.Context, group, owner string, members []byte, lease time.Duration) error {
	if err := engine.CheckAnnounce(group, owner, members); err != nil {
		return err
	}
	m := natsMsg(subjectPresent+token(group)+"."+token(owner), members)
	m.Header[hdrOwner] = []string{oneLine(owner)}
	if members == nil {
		m.Header[hdrAbsent] = []string{"1"}
		lease = time.Second
	}
	setTTL(m, max(lease, time.Second))
	_, err := e.publish(ctx, m)
	return err
}

const (
	subjectPresent = "rb.pres." // rb.pres.<group>.<owner>
	hdrOwner       = "Rb-Owner"
	hdrAbsent      = "Rb-Absent"
)

// Present implements engine.Layer.
func (e *Engine) Present(ctx context.Context, group string) (map[string][]byte, error) {
	if err := engine.CheckGroup(group); err != nil {
		return nil, err
	}
	if e.closed() {
		return nil, engine.ErrClosed
	}
	out := map[string][]byte{}
	for seq := uint64(1); ; {
		msgs, err := e.directBatch(ctx, streamFlags, seq, 256, subjectPresent+token(group)+".*")
		if err != nil || len(msgs) == 0 {
			return out, err
		}
		for _, m := range msgs {
			rec, err := readRecord(m)
			if err != nil {
				return nil, err
			}
			if rec.seq < seq {
				return nil, errors.New("presence is read out of order")
			}
			seq = rec.seq + 1
			if m.Header.Get(hdrAbsent) == "" {
				out[fromOneLine(m.Header.Get(hdrOwner))] = m.Data
			}
		}
	}
}
