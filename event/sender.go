package event

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// The groups of Celery's events. That of tasks is switched on and off, and
// batched.
const (
	taskGroup   = "task"
	workerGroup = "worker"
)

// SenderOptions configures a Sender. The zero value is a client's: it can
// [Sender.Publish].
type SenderOptions struct {
	// Hostname is the name of the node, for example celery@host. A worker
	// needs one. Empty means a client's: gen<pid>@<host>.
	Hostname string

	// Clock is the process's logical clock, shared with its remote control.
	// Nil means one of its own.
	Clock *celery.Clock

	// TaskEvents has events of tasks sent from the start, as Celery's -E does.
	// Without it they wait for [Sender.Enable].
	TaskEvents bool

	// Heartbeat is the time between two heartbeats. Zero means 2 seconds, as
	// in Celery. It must not be negative, nor below 100 ms.
	Heartbeat time.Duration

	// Report is asked for each heartbeat, by one goroutine at a time, and must
	// not block. Nil means zeros.
	Report func() Report

	// Version is shown as that of the worker's software. Empty means this
	// module's.
	Version string

	// Queue is how many events may wait to be sent. Further ones are dropped.
	// Zero means 10,000.
	Queue int

	// Logger is told when the engine is away and when it is back. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// Defaults of SenderOptions.
const (
	DefaultHeartbeat = 2 * time.Second // celery/worker/heartbeat.py
	DefaultQueue     = 10_000
	minHeartbeat     = 100 * time.Millisecond
)

// Sender sends a process's events: Celery's EventDispatcher and heartbeat. All
// methods may be called at once.
type Sender struct {
	broker   engine.Broker
	opts     SenderOptions
	client   bool
	headers  []byte
	software software

	tasks   atomic.Bool
	running atomic.Bool
	queue   queue
	ready   chan struct{} // something waits
	full    chan struct{} // a whole batch waits
	away    bool          // Run's: the engine did not take the last message

	counts counts
}

// NewSender makes a Sender. Nil options are the defaults.
func NewSender(broker engine.Broker, opts *SenderOptions) (*Sender, error) {
	s := &Sender{broker: broker, ready: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	if opts != nil {
		s.opts = *opts
	}
	if err := s.complete(); err != nil {
		return nil, fmt.Errorf("event: new sender: %w", err)
	}
	s.tasks.Store(s.opts.TaskEvents)
	s.queue.max = s.opts.Queue
	s.software = ourSoftware(s.opts.Version)
	// celery/events/dispatcher.py: this header and no other.
	s.headers = append(celery.AppendString([]byte(`{"hostname":`), s.opts.Hostname), '}')
	return s, nil
}

func (s *Sender) complete() error {
	o := &s.opts
	switch {
	case len(o.Hostname) > maxName:
		return fmt.Errorf("a host name of %d bytes: %w", len(o.Hostname), engine.ErrLimit)
	case o.Heartbeat < 0 || o.Heartbeat > 0 && o.Heartbeat < minHeartbeat:
		return fmt.Errorf("a heartbeat each %v: it must be %v at least", o.Heartbeat, minHeartbeat)
	case o.Queue < 0:
		return fmt.Errorf("a queue of %d events", o.Queue)
	}
	if s.client = o.Hostname == ""; s.client {
		o.Hostname = anonymous()
	}
	if o.Clock == nil {
		o.Clock = new(celery.Clock)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Report == nil {
		o.Report = func() Report { return Report{} }
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// anonymous names a client. celery/utils/nodenames.py anon_nodename.
func anonymous() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("gen%d@%s", os.Getpid(), host)
}

// Hostname returns the name under which events are sent.
func (s *Sender) Hostname() string { return s.opts.Hostname }

// Enabled reports whether events of tasks are sent, so that a caller can save
// the work of making them.
func (s *Sender) Enabled() bool { return s.tasks.Load() }

// Enable has events of tasks sent from now on, and reports whether that is
// new. celery/worker/control.py enable_events.
func (s *Sender) Enable() bool { return s.tasks.CompareAndSwap(false, true) }

// Disable is the reverse of Enable.
func (s *Sender) Disable() bool { return s.tasks.CompareAndSwap(true, false) }

// Send gives an event to Run, and never waits. The event gets its time and
// clock now. Events of tasks go out while they are enabled, several in a
// message; those of other groups always, each by itself. An event is dropped,
// and counted, when too many wait, when it is larger than half a million bytes
// or when Run has ended. Events sent before Run begins wait for it.
func (s *Sender) Send(e Event) {
	if e.Group() == taskGroup && !s.Enabled() {
		return
	}
	switch s.queue.push(e, s.fill) {
	case keptFull:
		signal(s.full)
		signal(s.ready)
	case kept:
		signal(s.ready)
	case noRoom:
		s.counts.full.Add(1)
	case tooLarge:
		s.counts.refused.Add(1)
	case closed:
		s.counts.stopped.Add(1)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fill gives an event the common fields. celery/events/dispatcher.py send. The
// offset stays 0: our times are true, and a receiver would shift them by the
// difference between two machines.
func (s *Sender) fill(e *Event) {
	e.Hostname, e.PID, e.UTCOffset = s.opts.Hostname, os.Getpid(), 0
	e.Clock = s.opts.Clock.Forward()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
}

// Heartbeat has a short heartbeat sent at once, as the remote-control command
// of that name does.
func (s *Sender) Heartbeat() { s.Send(asked(s.software)) }

// Publish sends events by itself, each in a message of its own and whether or
// not events of tasks are enabled; it needs no Run. This is how a client tells
// task-sent. It stops at the first that the engine does not take.
func (s *Sender) Publish(ctx context.Context, events ...Event) error {
	for _, e := range events {
		s.fill(&e)
		if err := s.broadcast(ctx, parcel{key: key(e.Type), body: e.Append(nil), events: 1}); err != nil {
			return fmt.Errorf("event: publish %s: %w", e.Type, err)
		}
	}
	return nil
}

// broadcast sends and counts. celery/events/dispatcher.py _publish.
func (s *Sender) broadcast(ctx context.Context, p parcel) error {
	err := s.broker.Broadcast(ctx, engine.Topic{Exchange: exchange, Key: p.key}, engine.Message{
		ContentType:     "application/json",
		ContentEncoding: "utf-8",
		Headers:         s.headers,
		Body:            p.body,
	})
	s.counts.add(p.events, err)
	return err
}
