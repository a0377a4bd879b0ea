package engine

import (
	"context"
	"iter"
	"time"
)

// Broker carries messages. All methods may be called at once.
type Broker interface {
	// Publish sends messages and returns one receipt per publication, in
	// order. It returns when every message is accepted or refused, with
	// [ErrFull] if there is no room.
	Publish(ctx context.Context, pubs []Publication) []Receipt

	// Receive opens a receiver. It holds nothing until Take is called.
	Receive(ctx context.Context, opts ReceiveOptions) (Receiver, error)

	// Revoke stops tasks. One that waits, is delayed or unknown becomes
	// REVOKED with the given state at once and will not be handed out. For
	// one that is running the wish is kept until it is settled: its owner's
	// [Receiver.Extend] answers [ErrRevoked], [Receiver.Revoked] names it
	// within a second, and the next taker, should the owner die, does not run
	// it. For a finished one nothing happens.
	Revoke(ctx context.Context, states []State) []error

	// Broadcast sends a message to everyone who listens to the topic now.
	// Nothing is stored. Of the message the content type and encoding, the
	// headers and the body are carried.
	Broadcast(ctx context.Context, to Topic, m Message) error

	// Listen yields broadcast messages from the moment it returns. It ends
	// with ctx. A listener that lags loses messages, which the engine counts.
	Listen(ctx context.Context, to Topic) (iter.Seq[Message], error)

	// Queues returns the numbers of every known queue, ordered by name.
	Queues(ctx context.Context) ([]QueueInfo, error)

	// Purge drops what is ready or delayed in a queue and tells how many it
	// were. What is held is not touched.
	Purge(ctx context.Context, queue string) (int, error)

	// Shelved lists a shelf from the oldest, at most max entries, after the
	// given id ("" from the start).
	Shelved(ctx context.Context, shelf Shelf, after string, max int) ([]Shelved, error)

	// Restore puts shelved messages back into their queues as new: attempts
	// go on counting, deliveries start again, a final state is cleared.
	// An id that is not there gets ErrNotFound.
	Restore(ctx context.Context, shelf Shelf, ids []string) []error

	// Drop removes shelved messages for good.
	Drop(ctx context.Context, shelf Shelf, ids []string) []error

	// Close frees what the engine holds on this side. Calls under way and
	// later ones return ErrClosed. It may be called twice.
	Close() error
}

// ReceiveOptions says what a receiver takes.
type ReceiveOptions struct {
	// Queues to take from. Within one priority step queues take turns.
	Queues []string

	// Owner names the process for people, for example celery@host.
	Owner string

	// MaxDeliveries is how often one message may be handed out without being
	// settled. One more and it is shelved as [Dead] with a FAILURE state.
	// Zero means [DefaultMaxDeliveries]; negative means no limit.
	MaxDeliveries int

	// Shelve makes the state that the engine keeps, and ends the stream with,
	// when it buries a message by itself. Nil keeps a state without a record.
	Shelve func(m Message, reason string) State

	// Lease is how long a delivery stays with its owner without Extend.
	// Zero means [DefaultLease]. Engines may round it up to 10 s at most.
	Lease time.Duration
}

const (
	// DefaultMaxDeliveries allows for four crashes before a message is
	// thought to be their cause.
	DefaultMaxDeliveries = 5

	// DefaultLease and DefaultBeat: a process extends every 2.5 s, and what
	// it held is out again 8 s after it fell silent.
	DefaultLease = 8 * time.Second
	DefaultBeat  = 2500 * time.Millisecond
)

// Receiver takes messages for one process. All methods may be called at once;
// of several Takes that wait each gets messages of its own.
type Receiver interface {
	// Take waits until a message is there and returns up to max of them, the
	// highest priority first. It holds no message beyond those it returned.
	// Nothing is polled while it waits. After an outage of the engine it goes
	// on by itself; it returns an error only when ctx ends or for good reason
	// (ErrClosed).
	Take(ctx context.Context, max int) ([]*Delivery, error)

	// Extend renews the lease of deliveries and returns one error per
	// delivery: nil, [ErrSuperseded] when another owner has it now or it was
	// settled, [ErrRevoked] when it should stop (the lease is renewed all the
	// same), or the fault of the engine.
	Extend(ctx context.Context, ds []*Delivery) []error

	// Settle ends deliveries and returns one error per settlement, in order.
	// [ErrSuperseded] means that nothing was done because the claim is not
	// valid any more. After another error the caller may try again with the
	// same settlement; it takes effect once.
	Settle(ctx context.Context, ss []Settlement) []error

	// Revoked yields the ids of held deliveries that should stop. It is
	// closed by Close.
	Revoked() <-chan string

	// Close stops taking. Deliveries that are not settled come back by the
	// end of their lease; return them with Settle first to be quick. It may
	// be called twice.
	Close() error
}
