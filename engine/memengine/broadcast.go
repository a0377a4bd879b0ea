package memengine

import (
	"context"
	"fmt"
	"iter"

	"github.com/rhubarb-go/rhubarb/engine"
)

// maxLag is how many payloads a listener may be behind before it loses some.
const maxLag = 1024

type listener struct {
	payloads chan []byte
	release  func() bool // forgets the watch on its context
}

// Broadcast implements engine.Broker.
func (e *Engine) Broadcast(ctx context.Context, topic string, payload []byte) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	if err := engine.CheckSize("broadcast payload", len(payload), engine.MaxMessage); err != nil {
		return err
	}
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	for l := range e.topics[topic] {
		select {
		case l.payloads <- payload:
		default:
			e.lost.Add(1)
		}
	}
	return nil
}

// Listen implements engine.Broker.
func (e *Engine) Listen(ctx context.Context, topic string) (iter.Seq[[]byte], error) {
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	l := &listener{payloads: make(chan []byte, maxLag)}
	l.release = context.AfterFunc(ctx, func() { e.deafen(topic, l) })
	if e.topics[topic] == nil {
		e.topics[topic] = make(map[*listener]struct{})
	}
	e.topics[topic][l] = struct{}{}
	return func(yield func([]byte) bool) {
		defer e.deafen(topic, l)
		defer l.release()
		for {
			select {
			case p := <-l.payloads:
				if ctx.Err() != nil || !yield(p) {
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

func (e *Engine) deafen(topic string, l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.topics[topic], l)
	if len(e.topics[topic]) == 0 {
		delete(e.topics, topic)
	}
}

// Lost returns how many payloads listeners lost so far because they lagged.
func (e *Engine) Lost() uint64 { return e.lost.Load() }

func checkTopic(topic string) error {
	if err := engine.CheckName("topic", topic, engine.MaxID); err != nil {
		return err
	}
	for _, c := range []byte(topic) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-':
		default:
			return fmt.Errorf("topic %q: only letters, digits, dots and dashes are allowed", topic)
		}
	}
	return nil
}
