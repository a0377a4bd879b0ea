package natsengine

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Broadcast implements engine.Broker.
func (e *Engine) Broadcast(ctx context.Context, to engine.Topic, m engine.Message) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := to.CheckSend(); err != nil {
		return err
	}
	if err := engine.CheckSize("broadcast message", len(m.Headers)+len(m.Body), engine.MaxMessage); err != nil {
		return err
	}
	msg := &nats.Msg{Subject: subjectOf(to), Data: m.Body, Header: nats.Header{}}
	for name, value := range map[string]string{hdrType: m.ContentType, hdrEncoding: m.ContentEncoding, hdrHeaders: string(m.Headers)} {
		if value != "" {
			msg.Header[name] = []string{oneLine(value)}
		}
	}
	if err := e.sub.PublishMsg(msg); err != nil {
		return e.wrong(err)
	}
	return e.flush(ctx)
}

// Listen implements engine.Broker.
func (e *Engine) Listen(ctx context.Context, to engine.Topic) (iter.Seq[engine.Message], error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if err := to.CheckListen(); err != nil {
		return nil, err
	}
	ch := make(chan engine.Message, 1024)
	sub, err := e.sub.Subscribe(subjectOf(to), func(m *nats.Msg) {
		select {
		case ch <- broadcastOf(m):
		default:
			e.missed.Add(1)
		}
	})
	if err == nil {
		err = e.flush(ctx)
	}
	if err != nil {
		e.unsubscribe(sub)
		return nil, e.wrong(err)
	}
	context.AfterFunc(ctx, func() { e.unsubscribe(sub) })
	return func(yield func(engine.Message) bool) {
		defer e.unsubscribe(sub)
		for {
			select {
			case m := <-ch:
				if !yield(m) {
					return
				}
			case <-ctx.Done():
				return
			case <-e.done:
				return
			}
		}
	}, nil
}

func broadcastOf(m *nats.Msg) engine.Message {
	return engine.Message{
		ContentType:     fromOneLine(m.Header.Get(hdrType)),
		ContentEncoding: fromOneLine(m.Header.Get(hdrEncoding)),
		Headers:         []byte(fromOneLine(m.Header.Get(hdrHeaders))),
		Body:            m.Data,
	}
}

// subjectOf writes a topic. The underscore tells where the key begins, and
// stands for an empty one, so that "#" has what to match.
func subjectOf(t engine.Topic) string {
	kind := "all."
	if t.Direct {
		kind = "one."
	}
	key := t.Key
	if rest, ok := strings.CutSuffix(key, "#"); ok {
		key = rest + ">"
	}
	return subjectTopic + kind + t.Exchange + "._." + cmp.Or(key, "_")
}

// Missed counts broadcast messages that slow listeners of this process lost.
func (e *Engine) Missed() uint64 { return e.missed.Load() }

// watchFlags hears of revocations of running tasks.
func (e *Engine) watchFlags() error {
	_, err := e.sub.Subscribe(subjectRev+"*", func(m *nats.Msg) {
		e.stopHeld(fromOneLine(m.Header.Get(hdrID)))
	})
	if err != nil {
		return fmt.Errorf("natsengine: subscribe: %w", err)
	}
	return nil
}

func (e *Engine) stopHeld(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.receivers {
		r.mu.Lock()
		h := r.held[id]
		r.mu.Unlock()
		if h == nil || h.revoked.Swap(true) {
			continue
		}
		select {
		case r.revoked <- id:
		default: // Extend says it too
		}
	}
}
