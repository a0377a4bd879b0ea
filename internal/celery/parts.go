package celery

import (
	"encoding/json"
	"time"
)

// What events and remote control are made of. Both are JSON of peers, read
// with the bounds of messages and written as Python writes it.

// Check makes sure that text of a peer is JSON, at most 500 levels deep, and
// returns it with NaN and the infinities marked (see [Bare]): the very slice
// where there are none.
func Check(raw []byte) (json.RawMessage, error) { return fromPeer(raw) }

// Members calls f for every member of an object that [Check] passed, in order.
// It is an error if the value is no object or has more than 65,536 members.
// The value aliases raw; the key must not be kept.
func Members(raw json.RawMessage, f func(key []byte, value json.RawMessage) error) error {
	return members(raw, func(key []byte, from, to int) error { return f(key, raw[from:to:to]) })
}

// Elements returns the elements of an array that [Check] passed, 65,536 at
// most. They alias raw.
func Elements(raw json.RawMessage) ([]json.RawMessage, error) { return elements(raw) }

// Text reads a string that [Check] passed.
func Text(raw json.RawMessage) (string, error) { return text(raw) }

// AppendString writes a JSON string; what is not UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

// AppendOptional writes a string, and null for an empty one.
func AppendOptional(dst []byte, s string) []byte { return appendOptional(dst, s) }

// AppendFloat writes a number as Python's repr does: 2.0 and not 2.
func AppendFloat(dst []byte, f float64) []byte { return appendFloat(dst, f, 64) }

// AppendTime writes an ISO 8601 time in UTC, and null for the zero time.
func AppendTime(dst []byte, t time.Time) []byte { return appendTime(dst, t) }
