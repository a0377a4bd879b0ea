package stream

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Reader is a place in a stream that was looked at: what it names is there, or
// is known to be lost. It may be used by any number of goroutines.
type Reader struct {
	stream *Stream
	after  engine.Position
	gaps   gaps
	over   bool
	lost   *engine.Record
}

// Attach looks whether a stream can be gone on with from a position, "" from
// the start. It reads one record at most, none for the start. Use it rather
// than [Stream.Batches] to know of a loss or of the end before reading.
func (s *Stream) Attach(ctx context.Context, after engine.Position) (*Reader, error) {
	r, _, err := s.attach(ctx, after, 0)
	return r, err
}

// attach also returns the records after the position: up to max, or one more
// if the position's own is gone.
func (s *Stream) attach(ctx context.Context, after engine.Position, max int) (*Reader, []engine.Record, error) {
	r := &Reader{stream: s, after: after, gaps: gaps{name: s.name}}
	cur, err := after.Cursor(s.name)
	if err != nil {
		r.lose()
		return r, nil, nil
	}
	r.gaps.cur, r.gaps.fresh = cur, cur == engine.Cursor{}
	from := cur
	if cur.Offset > 0 {
		from.Offset-- // the record itself should be there
		max++
	}
	if max <= 0 {
		return r, nil, nil
	}
	recs, err := s.engine.Read(ctx, s.name, from.Position(s.name), max)
	if err != nil {
		return nil, nil, fmt.Errorf("stream: read %s: %w", s.name, err)
	}
	return r, r.look(recs), nil
}

// look judges the position by the records found there, and returns those after
// it. A position whose record is gone is good as long as a later record shows,
// by its number, what was lost. With nothing at all there it may be of a
// stream that was deleted, or a forged one from the future: to wait there
// could be for ever.
func (r *Reader) look(recs []engine.Record) []engine.Record {
	switch {
	case r.gaps.fresh:
		return recs
	case len(recs) == 0:
		r.lose()
		return nil
	case recs[0].Pos == r.after:
		r.over = recs[0].Kind == engine.KindEnd
		return recs[1:]
	}
	if cur, err := recs[0].Pos.Cursor(r.stream.name); err != nil || cur.Offset == r.gaps.cur.Offset {
		r.lose()
		return nil
	}
	return recs
}

// lose puts the reader at the start, with a gap record before all.
func (r *Reader) lose() {
	r.after, r.gaps.cur, r.gaps.fresh = "", engine.Cursor{}, true
	gap := r.gaps.record(Gap{Reason: Position}, 0, time.Now())
	r.lost = &gap
}

// AtEnd reports whether the position is that of the end record, so that
// nothing can follow.
func (r *Reader) AtEnd() bool { return r.over }

// Lost returns the gap record that comes first if the position is not of this
// stream or its record is gone without a trace.
func (r *Reader) Lost() (gap engine.Record, lost bool) {
	if r.lost == nil {
		return engine.Record{}, false
	}
	return *r.lost, true
}

// Batches yields the records after the position, those that are there at once
// together, until it has yielded the end record or ctx ends, whose error it
// then yields. Payloads belong to the engine and must not be changed.
func (r *Reader) Batches(ctx context.Context) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		if r.over || r.lost != nil && !yield([]engine.Record{*r.lost}, nil) {
			return
		}
		g := r.gaps
		for recs, err := range r.stream.engine.Tail(ctx, r.stream.name, r.after) {
			if err != nil {
				yield(nil, fmt.Errorf("stream: tail %s: %w", r.stream.name, err))
				return
			}
			if !yield(g.fill(recs), nil) {
				return
			}
		}
	}
}
