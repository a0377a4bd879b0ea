package event

import (
	"encoding/json"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// exchange is where all events go. celery/events/event.py EVENT_EXCHANGE_NAME.
const exchange = "celeryev"

// Event is one thing that happened. The constructors of this package make it
// without the fields below Type, which a [Sender] fills in. It is a value; its
// fields of its own cannot be changed after it is made.
type Event struct {
	// Type is the kind, for example task-succeeded. What stands before the
	// first dash is its group.
	Type string

	// Hostname is the name of the node that sent it, for example celery@host;
	// of a client, gen<pid>@<host>.
	Hostname string

	// PID is the sender's process.
	PID int

	// Clock is the sender's logical time. Zero means none.
	Clock uint64

	// Time is when it happened by the sender's clock. It is exact to the
	// microsecond, and zero if the sender did not say.
	Time time.Time

	// UTCOffset is how many hours the sender is west of UTC. It says nothing
	// about Time. Senders of this package say 0.
	UTCOffset float64

	// Received is when [Receive] got it, by our clock. Zero before that.
	Received time.Time

	own []byte // a JSON object of all other fields; nil is {}
}

// New makes an event of an application's own, with fields that are a JSON
// object; empty is {}. The type is a group and a subject, joined by a dash: shop-opened.
// Names of the common fields are not allowed among the fields.
func New(kind string, fields json.RawMessage) (Event, error) {
	return newEvent(kind, fields)
}

// Group returns what stands before the first dash of the type.
func (e Event) Group() string {
	group, _, _ := strings.Cut(e.Type, "-")
	return group
}

// Subject returns what stands behind the first dash of the type.
func (e Event) Subject() string {
	_, subject, _ := strings.Cut(e.Type, "-")
	return subject
}

// Field returns a field of the event's own, nil if it has none of that name.
// NaN and the infinities, which JSON lacks, are strings with a NUL in front.
func (e Event) Field(name string) json.RawMessage {
	var found json.RawMessage
	e.each(func(key []byte, value json.RawMessage) {
		if string(key) == name {
			found = value // of two with one name the last counts, as in Python
		}
	})
	return found
}

// Fields yields the fields of the event's own, in the sender's order. A NaN is
// as [Event.Field] has it.
func (e Event) Fields() iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		more := true
		e.each(func(key []byte, value json.RawMessage) {
			more = more && yield(string(key), value)
		})
	}
}

// Text returns a field of the event's own that is a string, else "".
func (e Event) Text(name string) string {
	s, _ := celery.Text(e.Field(name)) // "" for what is no string
	return s
}

// TaskID returns the id of the task that the event is about, or "".
func (e Event) TaskID() string { return e.Text("uuid") }

// each calls f for every field of the event's own.
func (e Event) each(f func(key []byte, value json.RawMessage)) {
	if e.own == nil {
		return
	}
	_ = celery.Members(e.own, func(key []byte, value json.RawMessage) error { // made or checked by us
		f(key, value)
		return nil
	})
}

// Append writes the event as JSON, with the members in the order in which
// Celery has them. celery/events/dispatcher.py send, celery/events/event.py.
func (e Event) Append(dst []byte) []byte {
	dst = celery.AppendString(append(dst, `{"hostname":`...), e.Hostname)
	dst = strconv.AppendFloat(append(dst, `,"utcoffset":`...), e.UTCOffset, 'f', -1, 64)
	dst = strconv.AppendInt(append(dst, `,"pid":`...), int64(e.PID), 10)
	dst = append(dst, `,"clock":`...)
	if e.Clock == 0 {
		dst = append(dst, "null"...) // a "blind" event
	} else {
		dst = strconv.AppendUint(dst, e.Clock, 10)
	}
	if inner := e.members(); len(inner) > 0 {
		dst = append(append(dst, ','), celery.Bare(inner)...)
	}
	if !e.Time.IsZero() {
		dst = celery.AppendFloat(append(dst, `,"timestamp":`...), seconds(e.Time))
	}
	dst = celery.AppendString(append(dst, `,"type":`...), e.Type)
	return append(dst, '}')
}

// members are the event's own fields without the braces around.
func (e Event) members() json.RawMessage {
	if len(e.own) < 2 {
		return nil
	}
	return e.own[1 : len(e.own)-1]
}

// MarshalJSON writes the event with what a receiver adds: local_received. NaN
// and the infinities become strings, and kombu's special types plain values.
func (e Event) MarshalJSON() ([]byte, error) {
	doc := e.Append(nil)
	if !e.Received.IsZero() {
		doc = append(doc[:len(doc)-1], `,"local_received":`...)
		doc = append(celery.AppendFloat(doc, seconds(e.Received)), '}')
	}
	return celery.Plain(doc)
}

// seconds is a time as Python's time.time() gives it. The sum of the two is
// the float nearest to the time, so one that came as a float goes out as it
// came.
func seconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}

// moment is the reverse of seconds.
func moment(s float64) time.Time {
	whole, frac := math.Modf(s)
	return time.Unix(int64(whole), int64(math.Round(frac*1e9))).UTC()
}
