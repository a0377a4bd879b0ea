package natsengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// What groups keep is one stream, made when the first message is kept. The
// server republishes what it has stored under the group's own subject, so that
// who is in a group hears of it like of any other message, with its sequence.
const (
	streamHistory  = "RB_HISTORY"
	subjectHistory = "rb.hist." // rb.hist.<group>
)

// GroupKeep implements engine.Layer.
func (e *Engine) GroupKeep(ctx context.Context, msgs []engine.LayerMessage, age time.Duration) []error {
	out := make([]error, len(msgs))
	err := e.openHistory(ctx)
	if err == nil && e.opts.Admit != nil {
		err = e.opts.Admit()
	}
	ws := make([]*write, len(msgs))
	for i, m := range msgs {
		if out[i] = m.CheckGroup(); out[i] == nil {
			out[i] = err
		}
		if out[i] != nil {
			continue
		}
		msg := natsMsg(subjectHistory+token(m.To), m.Body)
		setTTL(msg, max(age, time.Second))
		msg.Header[jetstream.MsgIDHeader] = []string{rand.Text()}
		ws[i] = e.begin(ctx, msg)
	}
	for i, w := range ws {
		if w != nil {
			out[i] = e.endKept(ctx, w)
		}
	}
	return out
}

// endKept sends again what may have been lost with the connection: by its id the
// server stores it once.
func (e *Engine) endKept(ctx context.Context, w *write) error {
	err := e.end(w)
	for until := time.Now().Add(ackWait); errors.Is(err, errLost) && ctx.Err() == nil && time.Now().Before(until); {
		err = e.end(e.begin(ctx, w.msg))
	}
	return err
}

func (e *Engine) openHistory(ctx context.Context) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	open := e.history
	e.mu.Unlock()
	if open {
		return nil
	}
	_, err := e.api.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamHistory, Subjects: []string{subjectHistory + ">"}, Storage: jetstream.FileStorage, Replicas: max(e.opts.Replicas, 1),
		MaxMsgsPerSubject: engine.HistoryCapacity, AllowMsgTTL: true, AllowDirect: true, Duplicates: 30 * time.Second,
		RePublish: &jetstream.RePublish{Source: subjectHistory + ">", Destination: subjectGroup + ">"},
	})
	if err != nil {
		return fmt.Errorf("natsengine: create stream %s: %w", streamHistory, e.wrong(err))
	}
	e.mu.Lock()
	e.history = true
	e.mu.Unlock()
	return nil
}

// History implements engine.Layer.
func (e *Engine) History(ctx context.Context, group string, after uint64, most int) (msgs []engine.Kept, gone bool, err error) {
	if err := engine.CheckGroup(group); err != nil {
		return nil, false, err
	}
	if err := e.openHistory(ctx); err != nil || most <= 0 {
		return nil, false, err
	}
	most = min(most, engine.HistoryCapacity)
	if after == 0 {
		msgs, err = e.keptFrom(ctx, group, 1, most)
		return msgs, false, err
	}
	// The message of the offset is asked for as well: if it is there, so is
	// all that came after it.
	msgs, err = e.keptFrom(ctx, group, after, most+1)
	if err != nil {
		return nil, false, err
	}
	if len(msgs) > 0 && msgs[0].Offset == after {
		return msgs[1:], false, nil
	}
	msgs, err = e.keptFrom(ctx, group, 1, most)
	return msgs, true, err
}

// keptFrom reads a group's messages from a sequence on.
func (e *Engine) keptFrom(ctx context.Context, group string, seq uint64, most int) ([]engine.Kept, error) {
	raw, err := e.directBatch(ctx, streamHistory, seq, most, subjectHistory+token(group))
	if err != nil {
		return nil, err
	}
	out := make([]engine.Kept, len(raw))
	for i, m := range raw {
		if out[i].Offset, err = sequence(m, jetstream.SequenceHeader); err != nil {
			return nil, err
		}
		out[i].Body = m.Data
	}
	return out, nil
}

// sequence reads a number that the server has put into a header; without one it
// is 0.
func sequence(m *nats.Msg, header string) (uint64, error) {
	text := m.Header[header]
	if len(text) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseUint(text[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("header %s of a kept message: %w", header, err)
	}
	return n, nil
}
