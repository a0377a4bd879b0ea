// Package engine is the seam between rhubarb and what stores and carries its
// tasks: plain data, a handful of small interfaces, and the errors that every
// implementation returns.
//
// A technology behind the seam (memory, NATS JetStream, Redis, AMQP) is an
// engine. It implements one facet or several: [Broker] (messages and who holds
// them), [Results] (task states), [Streams] (resumable logs) and [Locks]
// (leases). [Set] names the engine chosen for each facet. The logic lives in
// the portable packages above; engines are passive and small.
//
// # The life of a message
//
// A caller hands a [Publication] to [Broker.Publish]. A worker opens a
// [Receiver] and takes batches of [Delivery]. To take is to claim: the engine
// records that this owner now runs this attempt, and the number of that record
// is the delivery's fence. While the work runs the worker extends its lease
// with [Receiver.Extend]; when it is over it hands in a [Settlement], which
// holds together all that must not come apart: the state to keep, the messages
// that follow, the end of the task's stream, and the removal of the message.
// A worker that was thought dead holds an old fence, and whatever it hands in
// is refused with [ErrSuperseded].
//
// # One record for claim, state and stream
//
// A task's stream is the stream that bears its id. Where one engine is Broker,
// Results and Streams at once (its Set is [Set.Unified]), the claim is the
// stream's reset record and the settlement of a ready state is its end record,
// so a task without output costs no stream of its own, and a stream can have
// only one end because a task can be settled only once.
//
// # Conformance
//
// Package engine/enginetest defines what an engine is: behaviour that is not in
// that suite is not promised.
//
// # Reading the source
//
// Start with [Broker] and [Receiver], then [Settlement], [Results], [Streams],
// and at last [Position].
package engine
