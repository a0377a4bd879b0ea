package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Limits of what is read: maxBatch events of a message, maxFields fields of an
// event and maxName bytes of a type, host name or id. A Celery worker sends
// 24 events in a message.
const (
	maxBatch  = 10_000
	maxFields = 1000
	maxName   = engine.MaxID
)

// lastYear bounds times to what JSON documents and Python can say.
const lastYear = 253_402_300_800 // the year 10000

// BadError says why something that came as an event is none.
type BadError struct {
	// Hostname is who the message says it is from, if it says so.
	Hostname string

	// Err is the reason.
	Err error
}

func (e *BadError) Error() string {
	if e.Hostname == "" {
		return "event: read: " + e.Err.Error()
	}
	return fmt.Sprintf("event: read from %.60q: %v", e.Hostname, e.Err)
}

func (e *BadError) Unwrap() error { return e.Err }

// Decode reads the body of a message: one event, or a list of them, whatever
// the message's routing key is. celery/events/receiver.py _receive. One that
// cannot be read does not harm the others: the error joins a [BadError] for
// each, and the events are those that could be read, which is none if the body
// as a whole is wrong.
func Decode(body []byte) ([]Event, error) {
	events, bad := decodeAll(body)
	return events, errors.Join(asErrors(bad)...)
}

func asErrors(bad []*BadError) []error {
	all := make([]error, len(bad))
	for i, err := range bad {
		all[i] = err
	}
	return all
}

func decodeAll(body []byte) (events []Event, bad []*BadError) {
	list, err := split(body)
	if err != nil {
		return nil, []*BadError{{Err: err}}
	}
	events = make([]Event, 0, len(list))
	for _, one := range list {
		if e, err := decode(one); err != nil {
			bad = append(bad, &BadError{Hostname: e.Hostname, Err: err})
		} else {
			events = append(events, e)
		}
	}
	return events, bad
}

// split returns the events of a body as JSON.
func split(body []byte) ([]json.RawMessage, error) {
	if err := engine.CheckSize("body", len(body), engine.MaxMessage); err != nil {
		return nil, err
	}
	raw, err := celery.Check(body)
	if err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimLeft(raw, " \t\r\n"); trimmed[0] != '[' {
		return []json.RawMessage{raw}, nil
	}
	list, err := celery.Elements(raw)
	if err == nil && len(list) > maxBatch {
		err = fmt.Errorf("it has %d events, at most %d are read: %w", len(list), maxBatch, engine.ErrLimit)
	}
	return list, err
}

// decode reads one event. With an error the event has what was read until
// then.
func decode(raw json.RawMessage) (Event, error) {
	var e Event
	n, own := 0, make(fields, 0, len(raw))
	err := celery.Members(raw, func(key []byte, value json.RawMessage) error {
		if n++; n > maxFields {
			return fmt.Errorf("it has more than %d fields: %w", maxFields, engine.ErrLimit)
		}
		if !common(key) {
			own = own.member(key, value)
			return nil
		}
		if err := e.set(string(key), value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	if e.Type == "" {
		return e, errors.New("it has no type")
	}
	if len(own) > 0 {
		e.own = slices.Clip(append(own, '}'))
	}
	return e, nil
}

// set reads one of the common fields. local_received is the receiver's word:
// a sender's is passed over.
func (e *Event) set(key string, raw json.RawMessage) (err error) {
	switch key {
	case "type":
		e.Type, err = name(raw)
	case "hostname":
		e.Hostname, err = name(raw)
	case "utcoffset":
		e.UTCOffset, err = hours(raw)
	case "pid":
		e.PID, err = wholeIn(raw, 0, math.MaxInt32)
	case "clock":
		e.Clock, err = clock(raw)
	case "timestamp":
		e.Time, err = timeOf(raw)
	}
	return err
}

func name(raw json.RawMessage) (string, error) {
	if string(raw) == "null" {
		return "", nil
	}
	s, err := celery.Text(raw)
	if err == nil && len(s) > maxName {
		err = fmt.Errorf("it has %d bytes: %w", len(s), engine.ErrLimit)
	}
	return s, err
}

func wholeIn(raw json.RawMessage, low, high int) (int, error) {
	if string(raw) == "null" {
		return 0, nil
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%.40s is not a whole number from %d to %d", raw, low, high)
	}
	return n, nil
}

// hours reads an offset. celery/utils/time.py utcoffset: a float from 5.7 on, a
// whole number before.
func hours(raw json.RawMessage) (float64, error) {
	if string(raw) == "null" {
		return 0, nil
	}
	h, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(h >= -48 && h <= 48) {
		return 0, fmt.Errorf("%.40s is not a number from -48 to 48", raw)
	}
	return h, nil
}

func clock(raw json.RawMessage) (uint64, error) {
	if string(raw) == "null" {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40s is not a whole number of 63 bits", raw)
	}
	return n, nil
}

// timeOf reads seconds since 1970.
func timeOf(raw json.RawMessage) (time.Time, error) {
	if string(raw) == "null" {
		return time.Time{}, nil
	}
	s, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || s < 0 || s >= lastYear {
		return time.Time{}, fmt.Errorf("%.40s is not a number of seconds since 1970", raw)
	}
	return moment(s), nil
}
