package memengine

import (
	"context"
	"iter"

	"github.com/rhubarb-go/rhubarb/engine"
)

// maxLag is how many messages a listener may be behind before it loses some.
const maxLag = 1024

type listener struct {
	topic    engine.Topic
	messages chan engine.Message
	release  func() bool // forgets the watch on its context
}

// Broadcast implements engine.Broker.
func (e *Engine) Broadcast(ctx context.Context, to engine.Topic, m engine.Message) error {
	if err := to.CheckSend(); err != nil {
		return err
	}
	if err := engine.CheckSize("broadcast message", len(m.Headers)+len(m.Body), engine.MaxMessage); err != nil {
		return err
	}
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	heard := engine.Message{ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: m.Headers, Body: m.Body}
	for l := range e.listeners {
		if !l.topic.Hears(to) {
			continue
		}
		select {
		case l.messages <- heard:
		default:
			e.lost.Add(1)
		}
	}
	return nil
}

// Listen implements engine.Broker.
func (e *Engine) Listen(ctx context.Context, to engine.Topic) (iter.Seq[engine.Message], error) {
	if err := to.CheckListen(); err != nil {
		return nil, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	l := &listener{topic: to, messages: make(chan engine.Message, maxLag)}
	l.release = context.AfterFunc(ctx, func() { e.deafen(l) })
	e.listeners[l] = struct{}{}
	return func(yield func(engine.Message) bool) {
		defer e.deafen(l)
		defer l.release()
		for {
			select {
			case m := <-l.messages:
				if ctx.Err() != nil || !yield(m) {
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

func (e *Engine) deafen(l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
}

// Lost returns how many messages listeners lost so far because they lagged.
func (e *Engine) Lost() uint64 { return e.lost.Load() }
