package memengine

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// maxBatch bounds the records a tail yields at once.
const maxBatch = 256

// Begin implements engine.Streams.
func (e *Engine) Begin(ctx context.Context, stream string) (engine.Fence, error) {
	if err := engine.CheckName("stream name", stream, engine.MaxID); err != nil {
		return 0, err
	}
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.mu.Unlock()
	t := e.task(stream)
	if t.ended {
		return 0, engine.ErrEnded
	}
	e.claim(t)
	e.keep(t, engine.DefaultTTL)
	return t.fence, nil
}

// Retain implements engine.Streams.
func (e *Engine) Retain(stream string, fence engine.Fence, r engine.Retention) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.tasks[stream]; t != nil && t.writes(fence) {
		t.retain = r.WithDefaults()
	}
}

// writes reports whether records may be written under the fence.
func (t *task) writes(f engine.Fence) bool {
	return t.open && !t.ended && f != 0 && f == t.fence
}

// Append implements engine.Streams.
func (e *Engine) Append(ctx context.Context, batches []engine.Append) []error {
	errs, ok := e.enter(ctx, len(batches))
	if !ok {
		return errs
	}
	defer e.mu.Unlock()
	for i, b := range batches {
		errs[i] = e.append(b)
	}
	return errs
}

func (e *Engine) append(b engine.Append) error {
	for _, entry := range b.Records {
		switch entry.Kind {
		case "", engine.KindData, engine.KindProgress, engine.KindState:
		default:
			return fmt.Errorf("append a record of kind %q: only data, progress and state are the writer's", entry.Kind)
		}
		if err := engine.CheckSize("stream record", len(entry.Payload), engine.MaxRecord); err != nil {
			return err
		}
	}
	t := e.tasks[b.Stream]
	if t == nil || !t.writes(b.Fence) {
		return engine.ErrSuperseded
	}
	for _, entry := range b.Records {
		if entry.Kind == "" {
			entry.Kind = engine.KindData
		}
		e.write(t, entry.Kind, bytes.Clone(entry.Payload))
	}
	e.keep(t, max(t.retain.Age, engine.DefaultTTL))
	return nil
}

// End implements engine.Streams.
func (e *Engine) End(ctx context.Context, stream string, fence engine.Fence, payload []byte, keep time.Duration) error {
	if err := engine.CheckSize("stream record", len(payload), engine.MaxRecord); err != nil {
		return err
	}
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	t := e.tasks[stream]
	if t == nil || !t.writes(fence) {
		return engine.ErrSuperseded
	}
	t.ended, t.open = true, false
	e.write(t, engine.KindEnd, bytes.Clone(payload))
	e.keep(t, keep)
	return nil
}

// Read implements engine.Streams.
func (e *Engine) Read(ctx context.Context, stream string, after engine.Position, most int) ([]engine.Record, error) {
	c, err := after.Cursor(stream)
	if err != nil {
		return nil, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	return e.read(stream, c.Offset, most), nil
}

func (e *Engine) read(stream string, offset uint64, most int) []engine.Record {
	t := e.tasks[stream]
	if t == nil {
		return nil
	}
	t.trim()
	found := t.after(offset, most)
	if len(found) == 0 {
		return nil
	}
	records := make([]engine.Record, len(found))
	for i, r := range found {
		records[i] = r.export(stream)
	}
	return records
}

// Tail implements engine.Streams.
func (e *Engine) Tail(ctx context.Context, stream string, after engine.Position) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		c, err := after.Cursor(stream)
		for err == nil {
			var records []engine.Record
			records, err = e.next(ctx, stream, c.Offset)
			if err != nil || len(records) == 0 {
				break
			}
			last := records[len(records)-1]
			if !yield(records, nil) || last.Kind == engine.KindEnd {
				return
			}
			c, err = last.Pos.Cursor(stream)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// next waits for records after an offset. None means that the stream has ended
// there.
func (e *Engine) next(ctx context.Context, stream string, offset uint64) ([]engine.Record, error) {
	for {
		if err := e.begin(ctx); err != nil {
			return nil, err
		}
		records := e.read(stream, offset, maxBatch)
		t := e.tasks[stream]
		if len(records) > 0 || t != nil && t.ended && len(t.control) > 0 {
			e.mu.Unlock()
			return records, nil
		}
		w := e.join(stream)
		e.mu.Unlock()
		if err := e.wait(ctx, stream, w); err != nil {
			return nil, err
		}
	}
}

// Delete implements engine.Streams.
func (e *Engine) Delete(ctx context.Context, streams []string) error {
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer e.mu.Unlock()
	for _, id := range streams {
		t := e.tasks[id]
		if t == nil {
			continue
		}
		t.wipe()
		if !t.brought {
			t.open, t.ended = false, false
		}
		if !t.brought && t.state.Status == "" {
			e.clock.cancel(&t.gone)
			delete(e.tasks, id)
		}
	}
	return nil
}
