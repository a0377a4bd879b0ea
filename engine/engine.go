package engine

import (
	"context"
	"errors"
)

// Errors that every engine returns, wrapped or bare. Match with errors.Is.
var (
	// ErrClosed: the engine or receiver was closed.
	ErrClosed = errors.New("engine is closed")

	// ErrSuperseded: the claim, term or writer is not the latest one, or what
	// it wrote to is finished. Nothing was written.
	ErrSuperseded = errors.New("superseded by a later claim")

	// ErrRevoked: the task should stop.
	ErrRevoked = errors.New("task was revoked")

	// ErrHeld: another owner holds the lock.
	ErrHeld = errors.New("lock is held by another owner")

	// ErrPosition: the position is not of this stream, or not a position.
	ErrPosition = errors.New("position is not of this stream")

	// ErrEnded: the stream has its end record.
	ErrEnded = errors.New("stream has ended")

	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")

	// ErrLimit: a name or payload is larger than engines carry, or empty.
	ErrLimit = errors.New("limit exceeded")

	// ErrFull: there is no room for more messages now. What was accepted goes
	// on.
	ErrFull = errors.New("no room for more messages")
)

// Set names the engine of each facet. One value may serve them all.
type Set struct {
	Broker  Broker
	Results Results
	Streams Streams
	Locks   Locks
	Layer   Layer
}

// Unified reports whether broker, results and streams are one engine, which
// then keeps a task's claim, state and stream as one record.
func (s Set) Unified() bool {
	return any(s.Broker) == any(s.Results) && any(s.Broker) == any(s.Streams)
}

// All returns a Set in which one engine serves every facet.
func All[E interface {
	Broker
	Results
	Streams
	Locks
	Layer
}](e E) Set {
	return Set{Broker: e, Results: e, Streams: e, Locks: e, Layer: e}
}

// Pinger is an engine that can say whether it answers. It is asked by
// readiness checks.
type Pinger interface {
	Ping(ctx context.Context) error
}
