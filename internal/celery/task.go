package celery

import (
	"encoding/json"
	"time"
)

// Task is a task message of protocol 2, in Go's terms.
// celery/app/amqp.py as_task_v2.
//
// Raw values are JSON; NaN and the infinities, which Python writes bare, are
// kept in a form that only this package reads: [Plain], [Unmarshal] and [Bare]
// know it. A Task may be copied; it is not safe for concurrent use.
type Task struct {
	Lang   string // "py"; ours says "go", also if empty
	Name   string
	ID     string
	Shadow string

	ETA     time.Time // zero: at once
	Expires time.Time // zero: never

	Group      string
	GroupIndex *int
	Retries    int

	SoftLimit, HardLimit time.Duration // zero: none

	RootID, ParentID     string // RootID defaults to ID on the way out
	ArgsRepr, KwargsRepr string // see Repr; both empty: not sent
	Origin               string
	IgnoreResult         bool
	WantResult           bool // the caller says false; neither leaves it to the task
	ReplacedTaskNesting  int
	StampedHeaders       []string
	Stamps               map[string]json.RawMessage
	Redelivered          bool

	// Compression of the body: gzip, zlib or zstd by kombu's names. Message
	// obeys it; names that it cannot write (bzip2) are dropped and the body
	// goes out plain.
	Compression string

	// Extra are the caller's own headers, stamps' values among them. A name
	// of Celery's own is refused by Message.
	Extra map[string]json.RawMessage

	ReplyTo  string
	Priority int
	// CorrelationID is the ID where it is empty.
	CorrelationID string
	// Properties are those not named here. Those that the carrier makes for
	// itself (delivery_tag, delivery_info, body_encoding) are left out, and so
	// is expiration: it counts from the first sending and would let a broker
	// drop a retry. Expires says the same.
	Properties map[string]json.RawMessage

	Args   []json.RawMessage
	Kwargs map[string]json.RawMessage
	Embed  Embed

	pending bool // body is not decoded yet
	body    []byte
	limits  Limits
}

// Limits bounds what a message may cost to read. The zero value is ready to
// use.
type Limits struct {
	// MaxBody is the size of a body after decompression, in bytes. Zero means
	// 16 MiB.
	MaxBody int
}

func (l Limits) maxBody() int {
	if l.MaxBody <= 0 {
		return 16 << 20
	}
	return l.MaxBody
}
