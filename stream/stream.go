package stream

import (
	"context"
	"errors"
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
// waiting. Among them is a gap record wherever some are missing. No records
// means that there is nothing further yet, or, after the end, ever. Where a
// gap record is added the result may have one more than max.
func (s *Stream) Read(ctx context.Context, after engine.Position, max int) ([]engine.Record, error) {
	g, after := s.check(after)
	recs, err := s.engine.Read(ctx, s.name, after, max)
	if err != nil {
		return nil, fmt.Errorf("stream: read %s: %w", s.name, err)
	}
	return g.fill(recs), nil
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
		g, after := s.check(after)
		if over, err := s.AtEnd(ctx, after); over || err != nil {
			if err != nil {
				yield(nil, err)
			}
			return
		}
		for recs, err := range s.engine.Tail(ctx, s.name, after) {
			if err != nil {
				yield(nil, fmt.Errorf("stream: tail %s: %w", s.name, err))
				return
			}
			if !yield(g.fill(recs), nil) {
				return
			}
		}
	}
}

// AtEnd reports whether the position is that of the stream's end record, so
// that nothing can follow.
func (s *Stream) AtEnd(ctx context.Context, after engine.Position) (bool, error) {
	cur, err := after.Cursor(s.name)
	if err != nil || after == "" || cur.N == 0 || cur.Offset == 0 {
		return false, nil //nolint:nilerr // a foreign position is no end; check has seen to it
	}
	cur.Offset-- // the record itself, if it is still there
	recs, err := s.engine.Read(ctx, s.name, cur.Position(s.name), 1)
	if err != nil {
		return false, fmt.Errorf("stream: read %s: %w", s.name, err)
	}
	return len(recs) == 1 && recs[0].Pos == after && recs[0].Kind == engine.KindEnd, nil
}

// check begins the look for gaps at a position. One that is not of this stream
// is replaced by the start, and will be announced.
func (s *Stream) check(after engine.Position) (*gaps, engine.Position) {
	g := &gaps{name: s.name}
	cur, err := after.Cursor(s.name)
	if errors.Is(err, engine.ErrPosition) {
		g.foreign = true
		return g, ""
	}
	g.cur, g.fresh = cur, after == ""
	return g, after
}
