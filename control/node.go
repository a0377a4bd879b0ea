package control

import (
	"context"
	"encoding/json"
	"time"
)

// Node is the worker behind a [Server]. Its methods are called one at a time,
// should return soon, and may be called until the Server's Run has returned.
type Node interface {
	Observer
	Operator
}

// Observer tells what a node is and does.
type Observer interface {
	// Held lists the tasks that the node holds, running or about to.
	Held() []Held

	// Registered lists the tasks that the node knows, by name.
	Registered() []Registered

	// Stats returns the node's numbers. Clock, PID and RUsage are left out.
	Stats() Stats

	// Settings returns the configuration under Celery's names, in the order in
	// which it is shown. Secrets need not be masked.
	Settings() []Setting

	// Queues lists those that the node takes from.
	Queues() []string
}

// Operator changes how a node works. An error becomes the error in the reply.
type Operator interface {
	// Revoke stops tasks for good, those that run on this node at once.
	Revoke(ctx context.Context, ids []string) error

	// SetRate changes how many tasks of a name may start per second on this
	// node, 0 for any number, and reports whether the task is known. text is
	// the rate as it was asked for.
	SetRate(task string, perSecond float64, text string) bool

	// SetLimits changes a task's time limits, 0 for none, and reports whether
	// the task is known.
	SetLimits(task string, soft, hard time.Duration) bool

	// Resize changes how many tasks may run at once by n, which may be
	// negative.
	Resize(n int) error

	// AddQueue takes from a queue, and CancelQueue no longer does. Doing so
	// twice is no error.
	AddQueue(ctx context.Context, name string) error
	CancelQueue(ctx context.Context, name string) error

	// Events returns what sends the node's events, or nil if nothing does.
	Events() Events

	// Shutdown has the node stop softly, soon.
	Shutdown(reason string)
}

// Events switches a node's events. An event.Sender does.
type Events interface {
	// Enable has the events of tasks sent, and Disable no longer. Both report
	// whether that is new.
	Enable() bool
	Disable() bool

	// Heartbeat sends one at once.
	Heartbeat()
}

// Invocation is one call of a task as workers describe it.
// celery/worker/request.py Request.info.
type Invocation struct {
	ID   string `json:"id"`
	Name string `json:"name"`

	// Args and Kwargs are values, or texts that show them if that was asked
	// for.
	Args   json.RawMessage `json:"args"`
	Kwargs json.RawMessage `json:"kwargs"`

	Type     string `json:"type"`
	Hostname string `json:"hostname"`

	// TimeStart is Unix seconds; nil before the start.
	TimeStart *float64 `json:"time_start"`

	// Acknowledged tells that the message is gone whatever becomes of the run.
	Acknowledged bool         `json:"acknowledged"`
	DeliveryInfo DeliveryInfo `json:"delivery_info"`

	// WorkerPID is nil before the start.
	WorkerPID *int `json:"worker_pid"`
}

// DeliveryInfo is how a call came to its worker.
type DeliveryInfo struct {
	Exchange    string `json:"exchange"`
	RoutingKey  string `json:"routing_key"`
	Priority    int    `json:"priority"`
	Redelivered bool   `json:"redelivered"`
}

// Held is an invocation in a node's hands. It runs if it has a TimeStart.
type Held struct {
	Invocation

	// ArgsRepr and KwargsRepr show the arguments as the caller did.
	ArgsRepr, KwargsRepr string

	// Stamps are its stamped headers.
	Stamps map[string][]string
}

// Scheduled is a call that waits in a Python worker for its time.
type Scheduled struct {
	// ETA is ISO 8601; nil if it has none.
	ETA      *string    `json:"eta"`
	Priority int        `json:"priority"`
	Request  Invocation `json:"request"`
}

// Registered is a task that a node knows, with those of its attributes that
// are not Python's None, as Python writes them.
type Registered struct {
	Name       string
	Attributes map[string]string
}

// Setting is one line of a node's configuration.
type Setting struct {
	Name  string
	Value any // text, a number, a bool, nil, or a list of them

	// Default tells that it was not set, but is what an unset one means.
	Default bool
}

// Stats is a worker's numbers. celery/worker/worker.py WorkController.stats.
// What varies between workers stays JSON.
type Stats struct {
	// Total counts by task what the worker accepted since its start.
	Total map[string]int64 `json:"total"`
	PID   int              `json:"pid"`

	// Clock is the logical clock, as a text.
	Clock string `json:"clock"`

	// Uptime is seconds.
	Uptime int64 `json:"uptime"`

	Pool          Pool            `json:"pool"`
	Broker        BrokerInfo      `json:"broker"`
	PrefetchCount int             `json:"prefetch_count"`
	RUsage        json.RawMessage `json:"rusage"`
}

// Pool is the part of [Stats] on what runs the tasks.
type Pool struct {
	Implementation string `json:"implementation"`
	MaxConcurrency int    `json:"max-concurrency"`

	// Processes are process ids, or names of threads.
	Processes          json.RawMessage `json:"processes"`
	MaxTasksPerChild   json.RawMessage `json:"max-tasks-per-child"`
	GuardedBySemaphore bool            `json:"put-guarded-by-semaphore"`

	// Timeouts are the default soft and hard limit in seconds; 0 is none.
	Timeouts json.RawMessage `json:"timeouts"`
	Writes   json.RawMessage `json:"writes,omitempty"`
}

// BrokerInfo is the part of [Stats] on the connection, without a password.
// kombu/connection.py Connection.info.
type BrokerInfo struct {
	Hostname           *string         `json:"hostname"`
	UserID             *string         `json:"userid"`
	VirtualHost        *string         `json:"virtual_host"`
	Port               *int            `json:"port"`
	Insist             bool            `json:"insist"`
	SSL                json.RawMessage `json:"ssl"`
	Transport          string          `json:"transport"`
	ConnectTimeout     *float64        `json:"connect_timeout"`
	TransportOptions   json.RawMessage `json:"transport_options"`
	LoginMethod        *string         `json:"login_method"`
	URIPrefix          *string         `json:"uri_prefix"`
	Heartbeat          *float64        `json:"heartbeat"`
	FailoverStrategy   *string         `json:"failover_strategy"`
	Alternates         []string        `json:"alternates"`
	CredentialProvider *string         `json:"credential_provider"`
}

// Queue is one that a worker takes from. kombu/entity.py Queue.as_dict.
type Queue struct {
	Name              string          `json:"name"`
	Exchange          Exchange        `json:"exchange"`
	RoutingKey        string          `json:"routing_key"`
	QueueArguments    json.RawMessage `json:"queue_arguments"`
	BindingArguments  json.RawMessage `json:"binding_arguments"`
	ConsumerArguments json.RawMessage `json:"consumer_arguments"`
	Durable           bool            `json:"durable"`
	Exclusive         bool            `json:"exclusive"`
	AutoDelete        bool            `json:"auto_delete"`
	NoAck             bool            `json:"no_ack"`
	Alias             *string         `json:"alias"`
	Bindings          json.RawMessage `json:"bindings"`
	NoDeclare         *bool           `json:"no_declare"`
	Expires           *float64        `json:"expires"`
	MessageTTL        *float64        `json:"message_ttl"`
	MaxLength         *int            `json:"max_length"`
	MaxLengthBytes    *int            `json:"max_length_bytes"`
	MaxPriority       *int            `json:"max_priority"`
}

// Exchange is where a queue's messages come from.
type Exchange struct {
	Name         string          `json:"name"`
	Type         string          `json:"type"`
	Arguments    json.RawMessage `json:"arguments"`
	Durable      bool            `json:"durable"`
	Passive      bool            `json:"passive"`
	AutoDelete   bool            `json:"auto_delete"`
	DeliveryMode *int            `json:"delivery_mode"`
	NoDeclare    bool            `json:"no_declare"`
}

// notAvailable stands for what a worker cannot tell.
var notAvailable = json.RawMessage(`"N/A"`)
