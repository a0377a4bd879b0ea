package engine

import "time"

// Message is Celery's task message in parts: what kombu calls the envelope,
// with the body as it is before any transfer encoding. Package
// internal/celery writes and reads the parts; engines carry them untouched.
// The slices belong to the message and are not changed after it is made.
type Message struct {
	// ID is the task's id, unique for all time. It is also header "id" and
	// property "correlation_id". Any non-empty string of at most [MaxID]
	// bytes is valid.
	ID string

	// Task is the task's name, header "task". Empty when the message could
	// not be read so far.
	Task string

	// ContentType and ContentEncoding describe Body, for example
	// "application/json" and "utf-8".
	ContentType     string
	ContentEncoding string

	// Headers and Properties are JSON objects. Empty means {}.
	Headers    []byte
	Properties []byte

	// Body is the payload as the sender made it, compressed if the header
	// "compression" says so, never base64.
	Body []byte
}

// Limits that every engine accepts. A larger value is refused with [ErrLimit].
const (
	MaxID      = 255       // bytes in a task id, a stream name or a lock name
	MaxQueue   = 200       // bytes in a queue name
	MaxMessage = 1_000_000 // bytes in a message: headers, properties and body
	MaxRecord  = 1_000_000 // bytes in a stream record's payload or a state's record
)

// Priority steps. As in kombu's Redis transport, a smaller number is sooner
// and a priority takes the greatest step that is not above it.
// kombu/transport/redis.py priority_steps.
var PrioritySteps = [...]int{0, 3, 6, 9}

// Step returns the index in [PrioritySteps] for a priority. Numbers below 0
// count as 0 and numbers above 9 as 9.
func Step(priority int) int {
	switch {
	case priority >= 9:
		return 3
	case priority >= 6:
		return 2
	case priority >= 3:
		return 1
	}
	return 0
}

// Publication is a message and how to carry it.
type Publication struct {
	Message

	// Queue is where the message waits; it comes into being with the first
	// message. It must not be empty.
	Queue string

	// Priority is 0 to 9, smaller is sooner; see [Step].
	Priority int

	// At hides the message until that time. It waits in the engine, is never
	// handed out early, and at most one second late. The zero value and times
	// past mean now.
	At time.Time

	// Round tells publications of one id apart: 0 for the first, and the
	// number of retries for one that a retry sends. Publishing an id and round
	// twice keeps one message; the second is accepted and changes nothing.
	// Engines remember that for two minutes at least, and for as long as they
	// know the state of a finished task.
	Round int

	// Key, if set, is an idempotency key: of all publications with one key
	// within KeyTTL only the first is carried, and the others are told its id.
	Key    string
	KeyTTL time.Duration
}

// Receipt answers one publication.
type Receipt struct {
	// ID is the id under which the task runs: that of the publication, or of
	// the earlier one that holds its idempotency key.
	ID string

	// Duplicate tells that an earlier publication holds the key.
	Duplicate bool

	// Err says why this publication was not accepted. When it is nil the
	// message survives a kill -9 of this process.
	Err error
}

// Delivery is a message handed to one owner, who must extend it and settle it.
type Delivery struct {
	Message
	Queue    string
	Priority int

	// Attempt counts the runs of this task from 1, whatever ended the earlier
	// ones: a retry or the death of a worker.
	Attempt int

	// Deliveries counts how often this message was handed out and not settled,
	// this time included. Above MaxDeliveries the engine shelves it instead.
	Deliveries int

	// Fence grows with every claim of a task. It names this claim in
	// [Streams.Append] and [Results.Put].
	Fence Fence

	// Taken is when the claim was made, by the engine's clock or ours.
	Taken time.Time

	// Token is the engine's own handle. Only the Receiver that made the
	// delivery reads it.
	Token any
}

// Fence is the number of a claim or a lock term. Zero is no fence.
type Fence uint64

// Verdict is what becomes of a delivered message.
type Verdict uint8

const (
	// Done removes the message. A ready [Settlement.State] ends the task;
	// otherwise (state RETRY, with the next message in Follow) it goes on.
	Done Verdict = iota

	// Return hands the message back at once, ahead of those behind it where
	// the engine can, as if it had not been taken: neither attempt nor
	// delivery count.
	Return

	// Bury moves the message to the shelf [Dead] with a reason.
	Bury

	// Park moves the message to the shelf [Parked] with a reason; the task
	// stays PENDING and its state is not touched.
	Park
)

// Settlement ends a delivery. Its parts take effect together: atomically where
// the engine can, else in an order no crash can break (state by fence, then
// follow-ups, which carry fixed ids, then the removal).
type Settlement struct {
	Delivery *Delivery
	Verdict  Verdict

	// State is the record to keep. Its ID must be the delivery's. With Done
	// and nil nothing is kept for readers, but the task counts as finished
	// and its stream ends with an empty payload. With Bury it is the final
	// FAILURE. It is not used with Return and Park.
	State *State

	// Follow are messages to send because of this outcome: a retry, a chain's
	// next step, callbacks.
	Follow []Publication

	// Reason says why, for Bury and Park.
	Reason string
}

// Shelf names a place for messages that nobody may take.
type Shelf string

const (
	// Dead holds messages that could not be read or that killed their workers.
	Dead Shelf = "dead"
	// Parked holds messages whose task no worker knew.
	Parked Shelf = "parked"
)

// Shelved is a message on a shelf.
type Shelved struct {
	Message
	Queue      string
	Priority   int
	Reason     string
	Deliveries int
	Since      time.Time
}

// QueueInfo is one queue's numbers at one moment.
type QueueInfo struct {
	Name    string
	Ready   int // waiting to be taken now
	Delayed int // waiting for their time
	Held    int // taken and not settled
	// Oldest is the age of the oldest ready message; zero when there is none
	// or the engine cannot tell.
	Oldest time.Duration
}
