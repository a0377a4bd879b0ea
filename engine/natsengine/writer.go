package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// writer numbers the records of one attempt. It exists in the process that
// holds the fence.
type writer struct {
	fence   engine.Fence
	attempt int
	stream  string
	prefix  string

	mu     sync.Mutex
	n      uint64 // the last number given out
	sealed bool   // nothing more may be written
	keep   engine.Retention
	kept   []kept // what was written and not trimmed
	bytes  int64  // of their payloads
}

// kept is a record that a trim may drop.
type kept struct {
	size  int
	state bool // under ….s
}

func (e *Engine) openWriter(id string, fence engine.Fence, attempt int) *writer {
	w := &writer{fence: fence, attempt: attempt, keep: engine.Retention{}.WithDefaults()}
	w.stream, w.prefix = logOf(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writers[id] = w
	return w
}

func (e *Engine) closeWriter(id string, fence engine.Fence) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.writers[id]; w != nil && w.fence == fence {
		delete(e.writers, id)
	}
}

func (e *Engine) writer(id string, fence engine.Fence) *writer {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.writers[id]; w != nil && w.fence == fence {
		return w
	}
	return nil
}

// seal ends the writing of an attempt and returns the last number given out:
// the settlement has the next one, and no record may get it too.
func (e *Engine) seal(id string, fence engine.Fence) uint64 {
	w := e.writer(id, fence)
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	return w.n
}

// Retain implements engine.Streams.
func (e *Engine) Retain(stream string, fence engine.Fence, r engine.Retention) {
	if w := e.writer(stream, fence); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.keep = r.WithDefaults()
	}
}

// Append implements engine.Streams.
func (e *Engine) Append(ctx context.Context, batches []engine.Append) []error {
	out := make([]error, len(batches))
	if e.closed() {
		return fill(out, engine.ErrClosed)
	}
	for i, b := range batches {
		w := e.writer(b.Stream, b.Fence)
		if w == nil {
			out[i] = engine.ErrSuperseded
			continue
		}
		entries := make([]entry, len(b.Records))
		for j, r := range b.Records {
			entries[j].Entry = r
		}
		out[i] = e.append(ctx, w, entries)
	}
	return out
}

// entry is a record to be stored, with the task's status if it is a state.
type entry struct {
	engine.Entry
	status string
}

func (e entry) check() error {
	switch e.Kind {
	case "", engine.KindData, engine.KindProgress, engine.KindState:
		return engine.CheckSize("record", len(e.Payload), engine.MaxRecord)
	}
	return fmt.Errorf("a record of kind %q cannot be appended: there are data, progress and state", e.Kind)
}

// resend is how often a write is tried again when the server did not answer.
// The records carry ids, so that none is stored twice.
const resend = 6

// append stores records in order. The lock keeps batches of one stream in the
// order in which they were handed in.
func (e *Engine) append(ctx context.Context, w *writer, entries []entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed {
		return engine.ErrSuperseded
	}
	msgs := make([]*nats.Msg, len(entries))
	for i, entry := range entries {
		if err := entry.check(); err != nil {
			return err
		}
		msgs[i] = w.msg(entry, w.n+uint64(i)+1)
	}
	var err error
	for try := range resend {
		var left []*nats.Msg
		if left, err = e.publishAll(ctx, msgs); err == nil || errors.Is(err, engine.ErrSuperseded) || ctx.Err() != nil || e.closed() {
			break
		}
		msgs = left
		select {
		case <-time.After(100 * time.Millisecond << try):
		case <-ctx.Done():
		case <-e.done:
		}
	}
	if err != nil {
		return err
	}
	w.n += uint64(len(entries))
	for _, entry := range entries {
		w.kept = append(w.kept, kept{len(entry.Payload), entry.Kind != engine.KindData && entry.Kind != ""})
		w.bytes += int64(len(entry.Payload))
	}
	return e.trim(ctx, w)
}

// msg writes one record under the fence.
func (w *writer) msg(entry entry, n uint64) *nats.Msg {
	rec := record{kind: entry.Kind, status: entry.status, attempt: w.attempt, n: n, payload: entry.Payload}
	if rec.kind == "" {
		rec.kind = engine.KindData
	}
	subject := w.prefix + "d"
	if rec.kind != engine.KindData {
		subject = w.prefix + "s"
	}
	m, err := rec.msgOf(subject)
	if err != nil { // only an outbox can fail
		m = &nats.Msg{Subject: subject, Header: nats.Header{}}
	}
	fence := strconv.FormatUint(uint64(w.fence), 10)
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{fence}
	m.Header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{w.prefix + "c"}
	m.Header[jetstream.MsgIDHeader] = []string{w.prefix + fence + ":" + strconv.FormatUint(n, 10)}
	setTTL(m, w.keep.Age)
	return m
}

// publishAll publishes in order and returns those that are not known to be
// stored, with the first error.
func (e *Engine) publishAll(ctx context.Context, msgs []*nats.Msg) (left []*nats.Msg, first error) {
	ws := make([]*write, len(msgs))
	for i, m := range msgs {
		ws[i] = e.begin(ctx, m)
	}
	for i, w := range ws {
		if err := e.end(w); err != nil {
			left = append(left, msgs[i])
			if first == nil {
				first = err
			}
		}
	}
	return left, first
}

// trim drops the oldest records beyond the retention, in steps of a hundredth
// of it, so that most appends cost nothing.
func (e *Engine) trim(ctx context.Context, w *writer) error {
	if len(w.kept) <= w.keep.Count+w.keep.Count/100 && w.bytes <= w.keep.Bytes+w.keep.Bytes/100 {
		return nil
	}
	var dropped [2]bool // data, states
	drop := 0
	for len(w.kept)-drop > w.keep.Count || w.bytes > w.keep.Bytes && drop < len(w.kept)-1 {
		w.bytes -= int64(w.kept[drop].size)
		dropped[kindIndex(w.kept[drop].state)] = true
		drop++
	}
	w.kept = append([]kept(nil), w.kept[drop:]...)
	var left [2]uint64
	for _, k := range w.kept {
		left[kindIndex(k.state)]++
	}
	s, err := e.api.Stream(ctx, w.stream)
	for i, suffix := range []string{"d", "s"} {
		if err != nil || !dropped[i] {
			continue
		}
		opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(w.prefix + suffix)}
		if left[i] > 0 { // a keep of 0 would be no keep
			opts = append(opts, jetstream.WithPurgeKeep(left[i]))
		}
		err = s.Purge(ctx, opts...)
	}
	return e.wrong(err)
}

func kindIndex(state bool) int {
	if state {
		return 1
	}
	return 0
}
