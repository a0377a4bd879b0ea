package natsengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Plain channels are a stream in the server's memory, made when the first is
// used.
const (
	streamLayer  = "RB_LAYER"
	subjectPlain = "rb.plain." // rb.plain.<channel>
)

// pushPlain puts a message on a plain channel.
func (e *Engine) pushPlain(ctx context.Context, m engine.LayerMessage) error {
	if err := e.openPlain(ctx); err != nil {
		return err
	}
	_, err := e.publish(ctx, natsMsg(subjectPlain+token(m.To), m.Body))
	var api *jetstream.APIError
	// The error's code is that of every store that refuses.
	if errors.As(err, &api) && strings.Contains(api.Description, "maximum messages per subject") {
		return engine.ErrFull
	}
	return err
}

func (e *Engine) openPlain(ctx context.Context) error {
	e.mu.Lock()
	open := e.plain
	e.mu.Unlock()
	if open {
		return nil
	}
	_, err := e.api.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamLayer, Subjects: []string{subjectPlain + ">"}, Storage: jetstream.MemoryStorage, Replicas: max(e.opts.Replicas, 1),
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		MaxMsgsPerSubject: engine.LayerCapacity, MaxAge: engine.LayerExpiry, MaxBytes: 32 << 20,
	})
	if err != nil {
		return fmt.Errorf("natsengine: create stream %s: %w", streamLayer, e.wrong(err))
	}
	e.mu.Lock()
	e.plain = true
	e.mu.Unlock()
	return nil
}

// Pop implements engine.Layer.
func (e *Engine) Pop(ctx context.Context, channel string, most int) ([]engine.LayerMessage, error) {
	if err := engine.CheckPlain(channel); err != nil {
		return nil, err
	}
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if most <= 0 || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)()
	if err := e.openPlain(ctx); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(channel))
	c, err := e.api.CreateOrUpdateConsumer(ctx, streamLayer, jetstream.ConsumerConfig{
		Durable: "pop_" + hex.EncodeToString(sum[:16]), FilterSubject: subjectPlain + token(channel), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: time.Second, MaxWaiting: 2048, MaxAckPending: -1, InactiveThreshold: 5 * time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("natsengine: channel %s: %w", channel, e.wrong(err))
	}
	for {
		batch, err := c.FetchNoWait(most)
		if err != nil {
			return nil, e.wrong(err)
		}
		out, err := e.popped(channel, batch)
		if len(out) > 0 || err != nil {
			return out, err
		}
		if batch, err = c.Fetch(1, jetstream.FetchContext(ctx)); err == nil {
			out, err = e.popped(channel, batch)
		}
		switch {
		case len(out) > 0:
			return out, nil
		case e.closed():
			return nil, engine.ErrClosed
		case over(ctx):
			return nil, ctx.Err()
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return nil, e.wrong(err)
		}
	}
}

// over reports whether a context has ended. The client counts its deadline by
// itself, and may be a moment ahead of it.
func over(ctx context.Context) bool {
	if end, bound := ctx.Deadline(); bound && time.Until(end) <= 0 {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// popped acknowledges messages before they are returned: at most once.
func (e *Engine) popped(channel string, batch jetstream.MessageBatch) ([]engine.LayerMessage, error) {
	var out []engine.LayerMessage
	for m := range batch.Messages() {
		if err := m.Ack(); err != nil {
			return out, e.wrong(err)
		}
		out = append(out, engine.LayerMessage{To: channel, Body: m.Data()})
	}
	return out, e.wrong(batch.Error())
}
