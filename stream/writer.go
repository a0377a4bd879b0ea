package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Options configures a Writer. The zero value is ready to use.
type Options struct {
	// Retention bounds the stream; zero fields mean the engine's defaults.
	Retention engine.Retention

	// Keep is how long the stream stays after its end. Zero means 24 hours.
	Keep time.Duration
}

// Writer writes a stream that belongs to no task. It may be used by any number
// of goroutines; their batches keep the order in which Append was called. A
// later writer of the same stream makes it void: its calls return
// engine.ErrSuperseded.
type Writer struct {
	engine engine.Streams
	name   string
	fence  engine.Fence
	keep   time.Duration
}

// Begin opens an attempt of a stream: readers get a reset record. A stream
// that has ended returns engine.ErrEnded. A nil opts is the zero value.
func Begin(ctx context.Context, s engine.Streams, name string, opts *Options) (*Writer, error) {
	if opts == nil {
		opts = &Options{}
	}
	fence, err := s.Begin(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream: begin %s: %w", name, err)
	}
	s.Retain(name, fence, opts.Retention)
	return &Writer{s, name, fence, opts.Keep}, nil
}

// Append writes records of kind data, all or a first part of them, and returns
// when they are kept. The payloads must not be changed until then. A payload of
// over engine.MaxRecord bytes is refused with engine.ErrLimit; after the end,
// and after a later Begin, the error is engine.ErrSuperseded.
func (w *Writer) Append(ctx context.Context, payloads ...[]byte) error {
	if len(payloads) == 0 {
		return nil
	}
	entries := make([]engine.Entry, len(payloads))
	for i, p := range payloads {
		entries[i] = engine.Entry{Kind: engine.KindData, Payload: p}
	}
	return w.write(ctx, entries)
}

// Progress writes a record of kind progress. Errors are those of Append.
func (w *Writer) Progress(ctx context.Context, payload []byte) error {
	return w.write(ctx, []engine.Entry{{Kind: engine.KindProgress, Payload: payload}})
}

func (w *Writer) write(ctx context.Context, entries []engine.Entry) error {
	batch := engine.Append{Stream: w.name, Fence: w.fence, Records: entries}
	if err := w.engine.Append(ctx, []engine.Append{batch})[0]; err != nil {
		return fmt.Errorf("stream: append to %s: %w", w.name, err)
	}
	return nil
}

// End closes the stream with its last record, once; a second end is refused
// with engine.ErrSuperseded. Readers stop there, and no writer can begin again.
func (w *Writer) End(ctx context.Context, payload []byte) error {
	if err := w.engine.End(ctx, w.name, w.fence, payload, w.keep); err != nil {
		return fmt.Errorf("stream: end %s: %w", w.name, err)
	}
	return nil
}
