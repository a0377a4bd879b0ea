package event

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// States that only events have, beside those of results.
const (
	pending  = engine.Pending
	received = "RECEIVED"
)

// maxText is how much of an argument list, a result or a traceback is kept, in
// bytes.
const maxText = 16 << 10

// Task is what is known of a task. Times are the senders', zero for what was
// not heard.
type Task struct {
	ID, Name             string
	State                string // PENDING, RECEIVED, STARTED, SUCCESS, …
	Args, Kwargs         string // as Python shows them
	Result, Exception    string
	Traceback            string
	ETA, Expires         string // ISO 8601, or ""
	Retries              int
	Runtime              time.Duration
	Worker, Client       string // host names of who had it last, and of who sent it
	Queue, Exchange, Key string // known from task-sent alone
	RootID, ParentID     string

	Sent, Received, Started, Succeeded, Failed, Retried, Revoked, Rejected time.Time

	Time  time.Time // of the last event that changed the state
	Clock uint64
}

// bytes is about what the task holds of memory.
func (t *Task) bytes() int {
	return len(t.ID) + len(t.Name) + len(t.Args) + len(t.Kwargs) + len(t.Result) + len(t.Exception) + len(t.Traceback) +
		len(t.ETA) + len(t.Expires) + len(t.Queue) + len(t.Exchange) + len(t.Key) + len(t.RootID) + len(t.ParentID) + len(t.State)
}

// moments are the subjects of Celery's own events: the state each leads to and
// where its time is kept. celery/events/state.py TASK_EVENT_TO_STATE.
var moments = map[string]struct {
	state string
	at    func(*Task) *time.Time
}{
	"sent":      {pending, func(t *Task) *time.Time { return &t.Sent }},
	"received":  {received, func(t *Task) *time.Time { return &t.Received }},
	"started":   {engine.Started, func(t *Task) *time.Time { return &t.Started }},
	"failed":    {engine.Failure, func(t *Task) *time.Time { return &t.Failed }},
	"retried":   {engine.Retry, func(t *Task) *time.Time { return &t.Retried }},
	"succeeded": {engine.Success, func(t *Task) *time.Time { return &t.Succeeded }},
	"revoked":   {engine.Revoked, func(t *Task) *time.Time { return &t.Revoked }},
	"rejected":  {engine.Rejected, func(t *Task) *time.Time { return &t.Rejected }},
}

// rank orders states: the lower it is, the less others can change. Unknown
// ones have that of CANCELLED. celery/states.py PRECEDENCE.
func rank(state string) int {
	switch state {
	case engine.Success:
		return 0
	case engine.Failure:
		return 1
	case engine.Revoked:
		return 3
	case engine.Started:
		return 4
	case received:
		return 5
	case engine.Rejected:
		return 6
	case engine.Retry:
		return 7
	case pending:
		return 8
	}
	return 2
}

// apply takes in an event of the task. celery/events/state.py Task.event.
func (t *Task) apply(e Event) {
	state := strings.ToUpper(e.Subject())
	if m, known := moments[e.Subject()]; known {
		state = m.state
		*m.at(t) = e.Time
	}
	late := state != engine.Retry && t.State != engine.Retry && rank(state) > rank(t.State)
	if late && state == received {
		e.each(func(key []byte, value json.RawMessage) {
			if ofReceived(key) {
				t.set(key, value)
			}
		})
		return
	}
	if !late {
		t.State = state
	}
	// Of other events that come late all fields count, their time among them.
	t.Time, t.Clock = e.Time, e.Clock
	e.each(t.set)
}

// ofReceived are the fields that count of a task-received that comes late.
// celery/events/state.py merge_rules.
func ofReceived(key []byte) bool {
	switch string(key) {
	case "name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires":
		return true
	}
	return false
}

func (t *Task) set(key []byte, value json.RawMessage) {
	switch string(key) {
	case "retries":
		setWhole(&t.Retries, value)
	case "runtime":
		if s, err := strconv.ParseFloat(string(value), 64); err == nil && s >= 0 && s < maxFreq*1e3 {
			t.Runtime = time.Duration(s * float64(time.Second))
		}
	default:
		if text := t.text(string(key)); text != nil {
			setText(text, value, maxText)
		}
	}
}

// text is where a field that is text is kept, or nil.
func (t *Task) text(key string) *string {
	switch key {
	case "name":
		return &t.Name
	case "args":
		return &t.Args
	case "kwargs":
		return &t.Kwargs
	case "result":
		return &t.Result
	case "exception":
		return &t.Exception
	case "traceback":
		return &t.Traceback
	case "eta":
		return &t.ETA
	case "expires":
		return &t.Expires
	case "queue":
		return &t.Queue
	case "exchange":
		return &t.Exchange
	case "routing_key":
		return &t.Key
	case "root_id":
		return &t.RootID
	case "parent_id":
		return &t.ParentID
	}
	return nil
}
