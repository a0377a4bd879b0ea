package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// fields writes the members of an event's own object, in order.
type fields []byte

func (f fields) key(name string) fields {
	if len(f) == 0 {
		f = append(make(fields, 0, 256), '{')
	} else {
		f = append(f, ',')
	}
	f = append(append(f, '"'), name...)
	return append(f, `":`...)
}

func (f fields) text(name, s string) fields {
	return celery.AppendString(f.key(name), s)
}

// optional writes null for an empty string.
func (f fields) optional(name, s string) fields {
	return celery.AppendOptional(f.key(name), s)
}

func (f fields) whole(name string, n int) fields {
	return strconv.AppendInt(f.key(name), int64(n), 10)
}

func (f fields) float(name string, x float64) fields {
	return celery.AppendFloat(f.key(name), x)
}

func (f fields) yes(name string, b bool) fields {
	return strconv.AppendBool(f.key(name), b)
}

// time writes null for the zero time.
func (f fields) time(name string, t time.Time) fields {
	return celery.AppendTime(f.key(name), t)
}

func (f fields) raw(name string, value json.RawMessage) fields {
	if len(value) == 0 {
		return append(f.key(name), "null"...)
	}
	return append(f.key(name), value...)
}

func (f fields) event(kind string) Event {
	if len(f) == 0 {
		return Event{Type: kind}
	}
	return Event{Type: kind, own: append(f, '}')}
}

// common are the fields that every event has or gets.
func common(key []byte) bool {
	switch string(key) {
	case "type", "hostname", "utcoffset", "pid", "clock", "timestamp", "local_received":
		return true
	}
	return false
}

func newEvent(kind string, raw json.RawMessage) (Event, error) {
	if group, subject, ok := strings.Cut(kind, "-"); !ok || group == "" || subject == "" {
		return Event{}, fmt.Errorf("event: new %.60q: a type is a group and a subject with a dash between", kind)
	}
	if len(raw) == 0 {
		return Event{Type: kind}, nil
	}
	own, err := celery.Check(raw)
	if err != nil {
		return Event{}, fmt.Errorf("event: new %s: its fields: %w", kind, err)
	}
	var f fields
	err = celery.Members(own, func(key []byte, value json.RawMessage) error {
		if common(key) {
			return fmt.Errorf("%s is set by the sender", key)
		}
		f = f.member(key, value)
		return nil
	})
	if err != nil {
		return Event{}, fmt.Errorf("event: new %s: its fields: %w", kind, err)
	}
	return f.event(kind), nil
}

// member copies a member of any name.
func (f fields) member(key []byte, value json.RawMessage) fields {
	if len(f) == 0 {
		f = append(f, '{')
	} else {
		f = append(f, ',')
	}
	f = append(celery.AppendString(f, string(key)), ':')
	return append(f, value...)
}
