package natsengine

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Broadcast implements engine.Broker.
func (e *Engine) Broadcast(ctx context.Context, topic string, payload []byte) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := checkTopic(topic); err != nil {
		return err
	}
	if err := engine.CheckSize("payload", len(payload), engine.MaxMessage); err != nil {
		return err
	}
	if err := e.sub.Publish(subjectTopic+topic, payload); err != nil {
		return e.wrong(err)
	}
	return e.flush(ctx)
}

// Listen implements engine.Broker.
func (e *Engine) Listen(ctx context.Context, topic string) (iter.Seq[[]byte], error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	ch := make(chan []byte, 1024)
	sub, err := e.sub.Subscribe(subjectTopic+topic, func(m *nats.Msg) {
		select {
		case ch <- m.Data:
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
	return func(yield func([]byte) bool) {
		defer e.unsubscribe(sub)
		for {
			select {
			case p := <-ch:
				if !yield(p) {
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

// Missed counts broadcast payloads that slow listeners of this process lost.
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

// checkTopic refuses what is no topic: letters, digits, dots and dashes, no
// part of them empty.
func checkTopic(topic string) error {
	for _, part := range strings.Split(topic, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return fmt.Errorf("topic %q is not made of letters, digits, dots and dashes", topic)
		}
	}
	return nil
}
