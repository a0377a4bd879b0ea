package event

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// ReceiveOptions says what a receiver hears. The zero value hears every event.
type ReceiveOptions struct {
	// Key selects by routing key, which is the type with dots for dashes:
	// "worker.#" is what workers say of themselves, "#" and "" are all.
	// Batches of task events have task.multi.
	Key string

	// Wake asks all workers for a heartbeat at the start, so that they are
	// known at once.
	Wake bool

	// Clock is the process's logical clock. Nil means one of its own.
	Clock *celery.Clock
}

// Receive yields the events of all workers and clients from the moment it
// returns until ctx ends or the engine is closed. What is no event is yielded
// as a [BadError], once for each, and does not end it. A receiver that lags
// loses events.
//
// Each event has Received, and its Clock is ours if it is a client's or missing
// (celery/events/receiver.py event_from_message). Time stays as it was sent,
// which is right for every sender. Celery's receiver shifts it by the hours
// between two zones, though senders tell seconds since 1970, so it shows wrong
// times unless all machines have one offset; then it agrees with this one.
func Receive(ctx context.Context, broker engine.Broker, opts *ReceiveOptions) (iter.Seq2[Event, error], error) {
	var o ReceiveOptions
	if opts != nil {
		o = *opts
	}
	if o.Key == "" {
		o.Key = "#"
	}
	if o.Clock == nil {
		o.Clock = new(celery.Clock)
	}
	messages, err := broker.Listen(ctx, engine.Topic{Exchange: exchange, Key: o.Key})
	if err != nil {
		return nil, fmt.Errorf("event: listen to %s: %w", o.Key, err)
	}
	if o.Wake {
		if err := wake(ctx, broker, o.Clock); err != nil {
			return nil, fmt.Errorf("event: ask workers for a heartbeat: %w", err)
		}
	}
	return func(yield func(Event, error) bool) {
		for m := range messages {
			if !receive(m, o.Clock, yield) {
				return
			}
		}
	}, nil
}

func receive(m engine.Message, clock *celery.Clock, yield func(Event, error) bool) bool {
	events, bad := read(m)
	for _, e := range events {
		e.arrive(time.Now(), clock)
		if !yield(e, nil) {
			return false
		}
	}
	for _, err := range bad {
		if !yield(Event{}, err) {
			return false
		}
	}
	return true
}

// read decodes a message of the exchange.
func read(m engine.Message) ([]Event, []error) {
	if m.ContentType != "application/json" {
		return nil, []error{&BadError{Hostname: from(m.Headers),
			Err: fmt.Errorf("content type %.60q is not read, set event_serializer = 'json'", m.ContentType)}}
	}
	events, bad := decodeAll(m.Body)
	for _, err := range bad {
		if err.Hostname == "" {
			err.Hostname = from(m.Headers)
		}
	}
	return events, asErrors(bad)
}

// from reads the header that names the sender, if there is one.
func from(headers []byte) (hostname string) {
	raw, err := celery.Check(headers)
	if err != nil {
		return ""
	}
	_ = celery.Members(raw, func(key []byte, value json.RawMessage) error { // no object: no name
		if string(key) == "hostname" {
			hostname, _ = name(value) // no string: no name
		}
		return nil
	})
	return hostname
}

// arrive corrects what only the receiver knows.
func (e *Event) arrive(now time.Time, clock *celery.Clock) {
	e.Received = now
	switch {
	case e.Type == "task-sent": // clients never sync their clocks
		e.Clock = max(clock.Now(), 1) - 1
		clock.Adjust(e.Clock)
	case e.Clock == 0:
		e.Clock = clock.Forward()
	default:
		clock.Adjust(e.Clock)
	}
}

// wake broadcasts the command heartbeat. celery/events/receiver.py
// wakeup_workers, kombu/pidbox.py _publish.
func wake(ctx context.Context, broker engine.Broker, clock *celery.Clock) error {
	const request = `{"method":"heartbeat","arguments":{},"destination":null,"pattern":null,"matcher":null}`
	headers := strconv.AppendUint([]byte(`{"clock":`), clock.Forward(), 10)
	headers = celery.AppendFloat(append(headers, `,"expires":`...), seconds(time.Now().Add(time.Second)))
	return broker.Broadcast(ctx, engine.Topic{Exchange: "celery.pidbox"}, engine.Message{
		ContentType:     "application/json",
		ContentEncoding: "utf-8",
		Headers:         append(headers, '}'),
		Body:            []byte(request),
	})
}
