package stream

import (
	"context"
	"fmt"
	"iter"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Stream is a reader's handle on a stream. It holds no connection and may be
// used by any number of goroutines.
type Stream struct {
	engine engine.Streams
	name   string
}

// Open returns a handle on a stream. It need not exist yet.
func Open(s engine.Streams, name string) *Stream { return &Stream{s, name} }

// Name returns the stream's name.
func (s *Stream) Name() string { return s.name }

// Read returns up to max records after a position, "" from the start, without
// waiting. Gap records come on top of max, wherever records are missing. No
// records means that there is nothing further yet, or, after the end, ever. Go
// on from the last record's position. Payloads belong to the engine and must
// not be changed.
func (s *Stream) Read(ctx context.Context, after engine.Position, max int) ([]engine.Record, error) {
	if max <= 0 {
		return nil, nil
	}
	r, recs, err := s.attach(ctx, after, max)
	if err != nil {
		return nil, err
	}
	if gap, lost := r.Lost(); lost {
		if recs, err = s.engine.Read(ctx, s.name, "", max); err != nil {
			return nil, fmt.Errorf("stream: read %s: %w", s.name, err)
		}
		return append([]engine.Record{gap}, r.gaps.fill(recs)...), nil
	}
	return r.gaps.fill(recs[:min(len(recs), max)]), nil
}

// Tail yields the records after a position and goes on as they are written,
// until it has yielded the end record or ctx ends, whose error it then yields.
// A position at the end yields nothing.
func (s *Stream) Tail(ctx context.Context, after engine.Position) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for recs, err := range s.Batches(ctx, after) {
			if err != nil {
				yield(engine.Record{}, err)
				return
			}
			for _, r := range recs {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Batches is Tail with the records that are there at once together, for
// readers that write several at a time.
func (s *Stream) Batches(ctx context.Context, after engine.Position) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		r, err := s.Attach(ctx, after)
		if err != nil {
			yield(nil, err)
			return
		}
		for recs, err := range r.Batches(ctx) {
			if !yield(recs, err) {
				return
			}
		}
	}
}
