package celery

import (
	"encoding/json"
	"time"
)

// Task is a task message of protocol 2, in Go's terms.
// celery/app/amqp.py as_task_v2.
type Task struct {
	Lang   string // "py"; ours says "go"
	Name   string
	ID     string
	Shadow string

	ETA     time.Time // zero: at once
	Expires time.Time // zero: never

	Group      string
	GroupIndex *int
	Retries    int

	SoftLimit, HardLimit time.Duration // zero: none

	RootID, ParentID     string
	ArgsRepr, KwargsRepr string
	Origin               string
	IgnoreResult         bool
	ReplacedTaskNesting  int
	StampedHeaders       []string
	Stamps               map[string]json.RawMessage
	Redelivered          bool
	Compression          string

	// Extra are the caller's own headers, stamps' values among them.
	Extra map[string]json.RawMessage

	ReplyTo  string
	Priority int

	Args   []json.RawMessage
	Kwargs map[string]json.RawMessage
	Embed  Embed

	body   []byte // not decoded yet
	limits Limits
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
