package redisengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

const (
	// A script's messages are bounded in number and, but for the last, in
	// bytes, since Redis does nothing else while it runs.
	maxBatch      = 128
	maxBatchBytes = 1 << 20

	// patience is how long a write that may be repeated is tried while Redis
	// is away.
	patience = 5 * time.Second
)

// Publish implements engine.Broker.
func (e *Engine) Publish(ctx context.Context, pubs []engine.Publication) []engine.Receipt {
	out := make([]engine.Receipt, len(pubs))
	plain := mail{e: e}
	rest := &publishBatch{e: e}
	for i := range pubs {
		p := &pubs[i]
		out[i].ID = p.ID
		switch err := e.publishable(*p); {
		case err != nil:
			out[i].Err = err
		case p.Round == 0 && p.Key == "" && p.At.IsZero():
			plain.add(p, &out[i])
		default:
			rest.add(ctx, p, &out[i])
		}
	}
	plain.send(ctx)
	rest.send(ctx)
	return out
}

func (e *Engine) publishable(p engine.Publication) error {
	if e.closed() {
		return engine.ErrClosed
	}
	return p.Check()
}

// publishBatch is what goes to Redis in one script.
type publishBatch struct {
	e        *Engine
	args     []string
	queues   []string
	receipts []*engine.Receipt
	bytes    int
}

func (b *publishBatch) add(ctx context.Context, p *engine.Publication, r *engine.Receipt) {
	if len(b.receipts) == maxBatch || b.bytes > maxBatchBytes {
		b.send(ctx)
	}
	if b.args == nil {
		b.args = b.e.arguments(8 * 16)
	}
	n := len(b.args)
	b.args = appendPublication(b.args, p)
	b.bytes += len(b.args[n+5])
	b.args = append(b.args, p.Key, keepFor(p.KeyTTL, engine.DefaultTTL))
	b.receipts = append(b.receipts, r)
	b.queues = append(b.queues, p.Queue)
}

// send hands the batch over and fills its receipts. A batch may be sent twice:
// what Redis has it knows.
func (b *publishBatch) send(ctx context.Context) {
	if len(b.receipts) == 0 {
		return
	}
	var holders []string
	err := b.e.declare(ctx, b.queues...)
	if err == nil {
		err = b.e.again(ctx, func() (err error) {
			holders, err = b.e.run(ctx, publishScript, b.args).AsStrSlice()
			return err
		})
	}
	if err == nil && len(holders) != len(b.receipts) {
		err = fmt.Errorf("redis: %d answers for %d messages", len(holders), len(b.receipts))
	}
	for i, r := range b.receipts {
		switch {
		case err != nil:
			r.Err = err
		case holders[i] != "":
			r.ID, r.Duplicate = holders[i], true
		}
	}
	*b = publishBatch{e: b.e}
}

// again tries something that may be repeated, while Redis is away for a moment.
func (e *Engine) again(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		err := f()
		if err == nil || !away(err) {
			return e.wrong(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return e.wrong(err)
		case <-e.done:
			return engine.ErrClosed
		}
	}
}

// away reports whether an error says that Redis cannot be reached now, or is
// not ready.
func away(err error) bool {
	if said, ok := rueidis.IsRedisErr(err); ok {
		return said.IsLoading() || said.IsClusterDown() || said.IsTryAgain() ||
			bytes.HasPrefix([]byte(said.Error()), []byte("READONLY")) || bytes.HasPrefix([]byte(said.Error()), []byte("MASTERDOWN"))
	}
	return err != nil && !errors.Is(err, rueidis.ErrClosing) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// declareEvery is how long a declaration is taken to stand: somebody may flush
// the database.
const declareEvery = time.Minute

// declare makes queues known, as kombu's queue_bind does: with a binding on the
// exchange of the same name.
func (e *Engine) declare(ctx context.Context, queues ...string) error {
	now := time.Now()
	for _, q := range queues {
		if at, ok := e.touched.Load(q); ok && now.Sub(at.(time.Time)) < declareEvery {
			continue
		}
		err := e.again(ctx, func() error {
			for _, res := range e.client.DoMulti(ctx,
				e.client.B().Sadd().Key(e.own("queues")).Member(q).Build(),
				e.client.B().Sadd().Key(e.opts.Prefix+bindingPrefix+q).Member(q+sep+sep+q).Build()) {
				if err := res.Error(); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, engine.ErrFull) {
			continue // the next one does it: who takes or settles now makes room
		}
		if err != nil {
			return err
		}
		e.touched.Store(q, now)
	}
	return nil
}

// appendPublication writes what lua/parts/send.lua takes.
func appendPublication(args []string, p *engine.Publication) []string {
	at := "0"
	if !p.At.IsZero() {
		at = strconv.FormatInt(ceilMillis(p.At), 10)
	}
	return append(args, p.ID, p.Queue, strconv.Itoa(engine.Step(p.Priority)), at, strconv.Itoa(p.Round), envelopeOf(p, at))
}

// ceilMillis never makes a time earlier.
func ceilMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// atProperty is a property of ours: until when a message is hidden, in ms. It
// is there for a message that waits in its queue, for want of a Go worker.
const atProperty = "rhubarb_at"

// envelopeOf writes a publication as kombu does, with the correlation id first
// among the properties, where scripts look for it.
func envelopeOf(p *engine.Publication, at string) string {
	m := p.Message
	if at != "0" || !bytes.HasPrefix(m.Properties, []byte(`{"correlation_id":"`)) {
		m.Properties = properties(m, at)
	}
	return rueidis.BinaryString(celery.AppendEnvelope(make([]byte, 0, 512+len(m.Headers)+len(m.Properties)+2*len(m.Body)), m, p.Queue, p.Priority))
}

// properties writes those of a message anew.
func properties(m engine.Message, at string) []byte {
	var all map[string]json.RawMessage
	if json.Unmarshal(m.Properties, &all) != nil || all == nil {
		all = map[string]json.RawMessage{} // no object: the envelope leaves it out
	}
	id := all["correlation_id"]
	delete(all, "correlation_id")
	delete(all, atProperty)
	if len(id) < 3 || id[0] != '"' {
		id, _ = json.Marshal(m.ID) //nolint:errcheck // a string always encodes
	}
	if at != "0" {
		all[atProperty] = json.RawMessage(at)
	}
	out := append([]byte(`{"correlation_id":`), id...)
	if rest, err := json.Marshal(all); err == nil && len(all) > 0 {
		return append(append(out, ','), rest[1:]...)
	}
	return append(out, '}')
}

// hiddenUntil returns the later of a message's eta and its own time by
// [atProperty]; the zero time if it has none. An eta that cannot be read is the
// worker's matter.
func hiddenUntil(m engine.Message) time.Time {
	at := celery.ETA(m.Headers)
	_, rest, ok := bytes.Cut(m.Properties, []byte(`"`+atProperty+`":`))
	if !ok {
		return at
	}
	digits := rest[:len(rest)-len(bytes.TrimLeft(rest, "0123456789"))]
	if ms, err := strconv.ParseInt(string(digits), 10, 64); err == nil && time.UnixMilli(ms).After(at) {
		at = time.UnixMilli(ms)
	}
	return at
}
