package rhubarb

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Call is one call of a task on its way out: what the caller said, before it
// becomes a message. Send middleware may change it.
type Call struct {
	// ID is the task's id. Empty means a new random UUID.
	ID   string
	Task string

	// Args and Kwargs are the arguments as JSON, in kombu's form for values
	// that JSON lacks. Nil Kwargs means none.
	Args   []json.RawMessage
	Kwargs map[string]json.RawMessage

	Queue    string // empty means the app's default queue
	Priority int    // 0 to 9, smaller is sooner

	ETA     time.Time // not before; the zero value means at once
	Expires time.Time // not after; the zero value means never

	Headers map[string]string // the caller's own, readable in the handler
	Shadow  string            // a name to show instead of Task

	// RawHeaders are headers whose values are any JSON. They win over Headers
	// of the same name.
	RawHeaders map[string]json.RawMessage

	// Stamps are headers that stay with the task: in its extended result and
	// in its retries. Signatures carry their own. celery/canvas.py stamp.
	Stamps map[string]json.RawMessage

	RootID, ParentID string // set by the app when called inside a task
	GroupID          string
	GroupIndex       *int   // the place in the group; nil if there is none
	ReplyTo          string // empty means the app's own
	Compression      string // of the body, by kombu's names: gzip, zlib, zstd; empty means none

	IgnoreResult bool
	SoftLimit    time.Duration // zero: the task's own
	HardLimit    time.Duration

	Links      []Signature // called with the result after success
	LinkErrors []Signature // called with the id after failure

	// Chain is what runs after this task, last step first, as it travels.
	Chain []Signature

	// Chord is the body of the chord that the task is a part of.
	Chord *Signature

	Key    string        // idempotency key
	KeyTTL time.Duration // zero means 24 hours

	countdown time.Duration // what ETA was made from, for signatures
	expiresIn time.Duration
	err       error
}

// Signature is a task with arguments and options that can travel inside
// another call, in Celery's own JSON form. celery/canvas.py Signature.
type Signature = celery.Signature

// Kombu's special JSON types, for values that JSON lacks. A plain time.Time is
// sent as a datetime and a []byte as bytes without them.
type (
	// DateTime is Python's datetime, naive or with a zone.
	DateTime = celery.DateTime
	// Date is Python's date.
	Date = celery.Date
	// TimeOfDay is Python's time.
	TimeOfDay = celery.TimeOfDay
	// Decimal is Python's Decimal, kept exactly as text.
	Decimal = celery.Decimal
	// UUID is Python's UUID.
	UUID = celery.UUID
	// Bytes is Python's bytes.
	Bytes = celery.Bytes
)

// CallOption sets something about one call.
type CallOption func(*Call)

// Countdown delays the call by d from now, and that of a signature by d from
// when it is sent. Negative is an error.
func Countdown(d time.Duration) CallOption {
	return func(c *Call) {
		if d < 0 {
			c.fail("countdown %v is negative: use 0 for at once", d)
			return
		}
		c.ETA, c.countdown = time.Now().Add(d), d
	}
}

// ETA delays the call until t.
func ETA(t time.Time) CallOption { return func(c *Call) { c.ETA, c.countdown = t, 0 } }

// Expires drops the call, as REVOKED, if it has not started by t.
func Expires(t time.Time) CallOption {
	return func(c *Call) { c.Expires, c.expiresIn = t, 0 }
}

// ExpiresIn drops the call, as REVOKED, if it has not started after d.
func ExpiresIn(d time.Duration) CallOption {
	return func(c *Call) {
		if d <= 0 {
			c.fail("expiry in %v is not in the future", d)
			return
		}
		c.expiresIn = d
	}
}

// Queue sends the call to the named queue.
func Queue(name string) CallOption { return func(c *Call) { c.Queue = name } }

// Priority sets the priority, 0 to 9, smaller is sooner.
func Priority(p int) CallOption { return func(c *Call) { c.Priority = p } }

// Header sends a header of the caller's own along.
func Header(key, value string) CallOption {
	return func(c *Call) {
		if c.Headers == nil {
			c.Headers = map[string]string{}
		}
		c.Headers[key] = value
	}
}

// Stamp marks the call with a header that stays with the task, see
// [Call.Stamps]. A value that is not JSON is an error.
func Stamp(key string, value any) CallOption {
	return func(c *Call) {
		raw, err := celery.Marshal(value)
		if err != nil {
			c.fail("stamp %q: %v", key, err)
			return
		}
		if c.Stamps == nil {
			c.Stamps = map[string]json.RawMessage{}
		}
		c.Stamps[key] = raw
	}
}

// TaskID sets the id instead of a random one. An id is used once: a second
// call with the id of a known task is not run.
func TaskID(id string) CallOption {
	return func(c *Call) {
		if id == "" {
			c.fail("the task id is empty")
		}
		c.ID = id
	}
}

// Shadow shows another name in tools.
func Shadow(name string) CallOption { return func(c *Call) { c.Shadow = name } }

// Link calls the signature with the result after success.
func Link(s Signature) CallOption { return func(c *Call) { c.Links = append(c.Links, s) } }

// LinkError calls the signature with this task's id after failure, or with all
// there is to know if its task takes a [Failed] and the worker knows it.
func LinkError(s Signature) CallOption {
	return func(c *Call) { c.LinkErrors = append(c.LinkErrors, s) }
}

// IdempotencyKey makes calls with one key one task: within ttl (0 means 24
// hours) the first is sent and the others attach to it.
func IdempotencyKey(key string, ttl time.Duration) CallOption {
	return func(c *Call) {
		if key == "" || len(key) > engine.MaxID {
			c.fail("the idempotency key has %d bytes, it needs 1 to %d", len(key), engine.MaxID)
		}
		c.Key, c.KeyTTL = key, ttl
	}
}

// NoResult keeps no result of this call.
func NoResult() CallOption { return func(c *Call) { c.IgnoreResult = true } }

// Limits sets the soft and hard time limit of this call; zero is the task's.
func Limits(soft, hard time.Duration) CallOption {
	return func(c *Call) { c.SoftLimit, c.HardLimit = soft, hard }
}

func newCall(task string, d Defaults) *Call {
	return &Call{
		Task: task, Queue: d.Queue, Priority: d.Priority, expiresIn: d.Expires,
		IgnoreResult: d.IgnoreResult, SoftLimit: d.SoftLimit, HardLimit: d.HardLimit,
	}
}

// NewCall makes a call of a task that this program does not define, with raw
// arguments.
func NewCall(task string, args Args, opts ...CallOption) (*Call, error) {
	if err := checkName(task); err != nil {
		return nil, fmt.Errorf("rhubarb: call task: %w", err)
	}
	c := newCall(task, Defaults{})
	var err error
	if c.Args, c.Kwargs, err = args.encode(); err != nil {
		return nil, fmt.Errorf("rhubarb: call %s: %w", task, err)
	}
	for _, opt := range opts {
		opt(c)
	}
	return c, nil
}

// setExpiry turns an expiry after some time into one at a time.
func (c *Call) setExpiry(now time.Time) {
	if c.expiresIn <= 0 || !c.Expires.IsZero() {
		return
	}
	if c.ETA.After(now) {
		now = c.ETA
	}
	c.Expires = now.Add(c.expiresIn)
}

func (c *Call) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// check refuses what no engine or worker could make sense of.
func (c *Call) check() error {
	switch {
	case c.err != nil:
		return c.err
	case len(c.ID) > engine.MaxID:
		return fmt.Errorf("the task id has %d bytes, at most %d are allowed", len(c.ID), engine.MaxID)
	case c.Queue == "" || len(c.Queue) > engine.MaxQueue:
		return fmt.Errorf("the queue name %q has %d bytes, it needs 1 to %d", c.Queue, len(c.Queue), engine.MaxQueue)
	case c.Priority < 0 || c.Priority > 9:
		return fmt.Errorf("priority %d is not between 0 and 9", c.Priority)
	case c.SoftLimit < 0 || c.HardLimit < 0:
		return fmt.Errorf("time limits %v, %v must not be negative", c.SoftLimit, c.HardLimit)
	case c.KeyTTL < 0:
		return fmt.Errorf("idempotency key lifetime %v is negative", c.KeyTTL)
	case !c.Expires.IsZero() && !c.ETA.IsZero() && c.Expires.Before(c.ETA):
		return fmt.Errorf("it expires at %s, before its ETA %s", c.Expires.Format(time.RFC3339), c.ETA.Format(time.RFC3339))
	}
	for k := range c.Headers {
		if reserved[k] || strings.TrimSpace(k) == "" {
			return fmt.Errorf("header %q belongs to the protocol: choose another name", k)
		}
	}
	for k := range c.RawHeaders {
		if reserved[k] || strings.TrimSpace(k) == "" {
			return fmt.Errorf("header %q belongs to the protocol: choose another name", k)
		}
	}
	return nil
}

// headers are those of the caller's own as JSON.
func (c *Call) headers() map[string]json.RawMessage {
	if len(c.Headers)+len(c.RawHeaders) == 0 {
		return nil
	}
	out := make(map[string]json.RawMessage, len(c.Headers)+len(c.RawHeaders))
	for k, v := range c.Headers {
		raw, err := json.Marshal(v)
		if err == nil { // a string always encodes
			out[k] = raw
		}
	}
	maps.Copy(out, c.RawHeaders)
	return out
}

// reserved are the headers of message protocol 2. celery/app/amqp.py as_task_v2.
var reserved = map[string]bool{
	"lang": true, "task": true, "id": true, "shadow": true, "eta": true, "expires": true,
	"group": true, "group_index": true, "retries": true, "timelimit": true, "root_id": true,
	"parent_id": true, "argsrepr": true, "kwargsrepr": true, "origin": true,
	"ignore_result": true, "replaced_task_nesting": true, "stamped_headers": true,
	"stamps": true, "redelivered": true, "compression": true,
}
