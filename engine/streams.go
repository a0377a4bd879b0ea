package engine

import (
	"context"
	"iter"
	"time"
)

// Kind says what a stream record is.
type Kind string

const (
	// KindData is output of the task: tokens, lines, rows.
	KindData Kind = "data"
	// KindProgress is a PROGRESS state; the payload is its result JSON.
	KindProgress Kind = "progress"
	// KindState is another state; the payload is its result JSON.
	KindState Kind = "state"
	// KindReset opens an attempt: what earlier ones wrote is void.
	KindReset Kind = "reset"
	// KindEnd closes the stream, once; the payload is the final result JSON.
	KindEnd Kind = "end"
	// KindGap tells a reader that records after its position are gone. It is
	// made while reading and never stored.
	KindGap Kind = "gap"
)

// Record is one entry of a stream.
type Record struct {
	// Pos is where a reader goes on after this record.
	Pos Position

	// Attempt is the run that wrote it, from 1.
	Attempt int

	// N counts the records of an attempt: 0 for its reset, then 1, 2, 3 …,
	// and for the end record one more than the last. A reader that misses a
	// number has met a gap.
	N uint64

	Kind    Kind
	Payload []byte
	Time    time.Time
}

// Append is a batch of records for one stream.
type Append struct {
	Stream  string
	Fence   Fence
	Records []Entry
}

// Entry is a record to be written.
type Entry struct {
	Kind    Kind // KindData if empty; KindProgress and KindState are allowed
	Payload []byte
}

// Retention bounds a stream. The oldest data, progress and state records go
// first; reset and end records stay until the stream's TTL.
type Retention struct {
	Count int           // records; 0 means 10,000
	Bytes int64         // payload bytes; 0 means 8 MiB
	Age   time.Duration // of a record; 0 means 24 hours
}

// Defaults of Retention.
const (
	DefaultRetainCount = 10_000
	DefaultRetainBytes = 8 << 20
	DefaultRetainAge   = 24 * time.Hour
)

// WithDefaults returns r with zero fields replaced by the defaults.
func (r Retention) WithDefaults() Retention {
	if r.Count <= 0 {
		r.Count = DefaultRetainCount
	}
	if r.Bytes <= 0 {
		r.Bytes = DefaultRetainBytes
	}
	if r.Age <= 0 {
		r.Age = DefaultRetainAge
	}
	return r
}

// Streams keeps resumable logs. A stream has one writer at a time, the holder
// of its latest fence, and any number of readers. A task's stream bears the
// task's id. All methods may be called at once.
type Streams interface {
	// Begin opens a new attempt of a stream that is not a unified engine's
	// task: it writes a reset record and returns the fence under which to
	// append. Older fences are void from then on. A stream that has ended
	// returns [ErrEnded].
	Begin(ctx context.Context, stream string) (Fence, error)

	// Retain sets the retention of the stream for the records written under
	// the fence from now on. Without it the defaults hold. It costs nothing
	// at once and is not durable: a new attempt sets it anew.
	Retain(stream string, fence Fence, r Retention)

	// Append writes records in order, and all of one batch or, should the
	// engine fail between, a first part. One error per batch:
	// [ErrSuperseded] if the fence is not the latest or the stream has ended.
	// Batches of one stream that are handed in one after another stay in
	// order, also when calls overlap.
	Append(ctx context.Context, batches []Append) []error

	// End closes a stream that was opened with Begin. A second end, or one by
	// an old fence, is refused with [ErrSuperseded]. The stream is kept for
	// the time given after that; zero means [DefaultTTL].
	End(ctx context.Context, stream string, fence Fence, payload []byte, keep time.Duration) error

	// Read returns up to max records after a position, "" from the start. No
	// records and no error means that there is nothing further yet (or, after
	// an end record, ever). It seeks and never scans. A position that is not
	// of this stream gives [ErrPosition]. Records lost to retention are just
	// not there: compare N.
	Read(ctx context.Context, stream string, after Position, max int) ([]Record, error)

	// Tail yields batches of records after a position and goes on as they are
	// written, in order, each once, until an end record was yielded or ctx
	// ends, whose error it then yields. A tail that falls behind reads from
	// the store again: what it keeps in memory is bounded, and nothing is
	// dropped that is still retained.
	Tail(ctx context.Context, stream string, after Position) iter.Seq2[[]Record, error]

	// Delete removes streams. Readers that follow one get no more records.
	Delete(ctx context.Context, streams []string) error
}
