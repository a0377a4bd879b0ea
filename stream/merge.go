package stream

import (
	"bytes"
	"encoding/json"
	"iter"
	"sync/atomic"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Join appends a payload to what was joined before and reports whether it can.
// A nil joined begins a new run; the result is not nil then, and does not
// share memory with next.
type Join func(joined, next []byte) ([]byte, bool)

// JoinText puts any payloads together as they are.
func JoinText(joined, next []byte) ([]byte, bool) {
	if joined == nil {
		joined = make([]byte, 0, 2*len(next))
	}
	return append(joined, next...), true
}

// JoinJSON makes one JSON string of JSON strings, and one array of arrays.
// Other values, and invalid ones, stay apart.
func JoinJSON(joined, next []byte) ([]byte, bool) {
	next = bytes.Trim(next, jsonSpace)
	if len(next) < 2 || next[0] != '"' && next[0] != '[' || !json.Valid(next) {
		return joined, false
	}
	if joined == nil {
		return append(make([]byte, 0, 2*len(next)), next...), true
	}
	if joined[0] != next[0] {
		return joined, false
	}
	open, inner := joined[:len(joined)-1], next[1:]
	if next[0] == '[' && !emptyArray(joined) && !emptyArray(next) {
		open = append(open, ',')
	}
	if next[0] == '[' && emptyArray(next) {
		return joined, true
	}
	return append(open, inner...), true
}

// jsonSpace is what JSON takes for white space. RFC 8259, 2.
const jsonSpace = " \t\r\n"

func emptyArray(a []byte) bool { return len(bytes.Trim(a[1:len(a)-1], jsonSpace)) == 0 }

// DefaultMaxMerge bounds a merged payload, in bytes.
const DefaultMaxMerge = 64 << 10

// Merger makes one record of successive data records that are there at once,
// so that a slow reader has less to take. A merged record has the last one's
// position and number. It may be used by any number of goroutines. A nil
// Merger, and one without Join, merges nothing.
type Merger struct {
	// Join puts payloads together, for example [JoinJSON].
	Join Join

	// MaxBytes bounds a merged payload. Zero means 64 KiB. A record that is
	// larger by itself stays as it is.
	MaxBytes int

	merged, full, unlike atomic.Uint64
}

// MergeStats counts what a Merger did, since it was made.
type MergeStats struct {
	Merged uint64 // records that went into the one before them
	Full   uint64 // records that were kept apart by MaxBytes
	Unlike uint64 // records that Join could not put together
}

// Stats returns the counts.
func (m *Merger) Stats() MergeStats {
	return MergeStats{m.merged.Load(), m.full.Load(), m.unlike.Load()}
}

// Batches merges within each batch of a reader.
func (m *Merger) Batches(in iter.Seq2[[]engine.Record, error]) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		for recs, err := range in {
			if !yield(m.Merge(recs), err) {
				return
			}
		}
	}
}

// Merge returns the records with successive data records merged. Those given
// are not changed. Look for gaps before: the numbers do not go on afterwards.
func (m *Merger) Merge(recs []engine.Record) []engine.Record {
	if m == nil || m.Join == nil || len(recs) < 2 {
		return recs
	}
	out := make([]engine.Record, 0, len(recs))
	run := run{m: m}
	for _, r := range recs {
		if n := len(out); n > 0 && run.take(&out[n-1], r) {
			continue
		}
		run.joined = nil
		out = append(out, r)
	}
	return out
}

// run is a last record that more may be merged into.
type run struct {
	m      *Merger
	joined []byte
}

// take merges next into last if it may.
func (u *run) take(last *engine.Record, next engine.Record) bool {
	if last.Kind != engine.KindData || next.Kind != engine.KindData || last.Attempt != next.Attempt {
		return false
	}
	limit := u.m.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxMerge
	}
	if len(last.Payload)+len(next.Payload) > limit {
		u.m.full.Add(1)
		return false
	}
	ok := true
	if u.joined == nil {
		u.joined, ok = u.m.Join(nil, last.Payload)
	}
	if ok {
		u.joined, ok = u.m.Join(u.joined, next.Payload)
	}
	if !ok {
		u.m.unlike.Add(1)
		return false
	}
	last.Payload, last.Pos, last.N, last.Time = u.joined, next.Pos, next.N, next.Time
	u.m.merged.Add(1)
	return true
}
