package rhubarb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// None is the input or output of a task that has none.
type None struct{}

// Task is code with a name: a typed handler and the defaults of its calls. It
// is bound to no app, is immutable and may be used by any number of
// goroutines.
type Task[In, Out any] struct {
	def  *Definition
	args *codec[In]
}

// Runnable is a task of any type, as a worker takes it.
type Runnable interface {
	// Definition returns what the task is. It is shared; do not change it.
	Definition() *Definition
}

// Definition is a task without its types.
type Definition struct {
	// Name is the task's name on the wire, for example "mail.send_email".
	Name string

	// Defaults are what [TaskOption]s set.
	Defaults Defaults

	// Params describes the arguments in order. It is nil for raw input.
	Params []Param

	// TakesFailed tells a task whose input is [Failed].
	TakesFailed bool

	// Run decodes the arguments of the invocation in ctx, calls the handler
	// and returns its output. A wrong argument gives an [*ArgumentError].
	Run Handler
}

// Defaults are the settings of a task. The zero value is Celery's default
// behaviour with late acknowledgement.
type Defaults struct {
	// Queue to send to. Empty means the app's default queue.
	Queue string
	// Priority 0 to 9, smaller is sooner, as in Celery on Redis.
	Priority int
	// Positional makes calls from Go send positional arguments.
	Positional bool
	// AckEarly runs a task at most once: should its worker die, it fails.
	AckEarly bool
	// IgnoreResult keeps no result.
	IgnoreResult bool
	// KeepErrors keeps failures all the same. Celery's
	// store_errors_even_if_ignored.
	KeepErrors bool
	// TrackStarted keeps the state STARTED with the worker's name and process.
	TrackStarted bool
	// Retry is the policy for errors. The zero value retries only on [Retry].
	Retry RetryPolicy
	// SoftLimit cancels the handler's context after that time; zero is none.
	SoftLimit time.Duration
	// HardLimit fails the task and abandons its goroutine; zero is none.
	HardLimit time.Duration
	// Expires drops calls that were not started in time; zero is never.
	Expires time.Duration
	// KeepResult is how long result and stream are kept after the end.
	// Zero means the app's setting.
	KeepResult time.Duration
	// Retention bounds the task's stream; zero fields mean the defaults.
	Retention engine.Retention
}

// Param is one argument of a task.
type Param struct {
	Name     string
	Type     string // JSON type: string, number, integer, boolean, array, object or any
	Required bool
}

// Define makes a task. It panics if the name is empty or longer than 255
// bytes, if it has spaces or control characters, or if an option does not make
// sense, since these are mistakes of the program.
func Define[In, Out any](name string, handler func(context.Context, In) (Out, error), opts ...TaskOption) *Task[In, Out] {
	if err := checkName(name); err != nil {
		panic("rhubarb: define task: " + err.Error())
	}
	if handler == nil {
		panic("rhubarb: define task " + name + ": handler is nil")
	}
	args := newCodec[In]()
	def := &Definition{Name: name, Params: args.params(), TakesFailed: args.form == formFailed}
	for _, opt := range opts {
		opt(&def.Defaults)
	}
	if err := def.Defaults.check(); err != nil {
		panic(fmt.Sprintf("rhubarb: define task %s: %v", name, err))
	}
	def.Run = func(ctx context.Context, inv *Invocation) (any, error) {
		in, err := args.decode(inv.Args, inv.Kwargs)
		if err != nil {
			return nil, err
		}
		return handler(ctx, in)
	}
	return &Task[In, Out]{def: def, args: args}
}

// Definition returns the task without its types.
func (t *Task[In, Out]) Definition() *Definition { return t.def }

// Name returns the task's name on the wire.
func (t *Task[In, Out]) Name() string { return t.def.Name }

// Call makes a call of the task that is not sent yet. App.Send sends several
// at once.
func (t *Task[In, Out]) Call(in In, opts ...CallOption) (*Call, error) {
	c := newCall(t.def.Name, t.def.Defaults)
	var err error
	if c.Args, c.Kwargs, err = t.args.encode(in, t.def.Defaults.Positional); err != nil {
		return nil, fmt.Errorf("rhubarb: call %s: %w", t.def.Name, err)
	}
	for _, opt := range opts {
		opt(c)
	}
	return c, nil
}

// Delay sends the task to be run as soon as possible.
func (t *Task[In, Out]) Delay(ctx context.Context, app *App, in In) (*Result[Out], error) {
	return t.Apply(ctx, app, in)
}

// Apply sends the task with call options. When it returns without an error,
// the call is in the engine's keeping.
func (t *Task[In, Out]) Apply(ctx context.Context, app *App, in In, opts ...CallOption) (*Result[Out], error) {
	c, err := t.Call(in, opts...)
	if err != nil {
		return nil, err
	}
	sent, err := app.send1(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Result[Out]{id: sent.ID, duplicate: sent.Duplicate, app: app}, nil
}

// Signature returns the task with its arguments as a value that can be sent
// along with another call, see [Link].
func (t *Task[In, Out]) Signature(in In, opts ...CallOption) (Signature, error) {
	c, err := t.Call(in, opts...)
	if err != nil {
		return Signature{}, err
	}
	return c.signature()
}

// Partial returns a signature without arguments: what runs before it gives
// them.
func (t *Task[In, Out]) Partial() Signature {
	return Signature{Task: t.def.Name, Args: []json.RawMessage{}, Kwargs: map[string]json.RawMessage{}}
}

// TaskOption sets a default of a task.
type TaskOption func(*Defaults)

// OnQueue sends the task's calls to the queue unless the call names another.
func OnQueue(name string) TaskOption { return func(d *Defaults) { d.Queue = name } }

// WithPriority sets the default priority, 0 to 9, smaller is sooner.
func WithPriority(p int) TaskOption { return func(d *Defaults) { d.Priority = p } }

// Positional makes calls from Go send positional arguments, for Python
// functions whose parameters have other names.
func Positional() TaskOption { return func(d *Defaults) { d.Positional = true } }

// AckEarly makes the task run at most once: if its worker dies while it runs,
// it is not run again but fails with WorkerLostError.
func AckEarly() TaskOption { return func(d *Defaults) { d.AckEarly = true } }

// IgnoreResult keeps no result of the task, be it output or error. A worker
// obeys it also where the caller does not ask for it.
func IgnoreResult() TaskOption { return func(d *Defaults) { d.IgnoreResult = true } }

// KeepErrors keeps why the task failed or was revoked though its result is
// ignored. Celery's store_errors_even_if_ignored.
func KeepErrors() TaskOption { return func(d *Defaults) { d.KeepErrors = true } }

// TrackStarted keeps the state STARTED with the meta {"pid": …, "hostname": …}
// before the task runs, at the price of a write. Celery's track_started.
func TrackStarted() TaskOption { return func(d *Defaults) { d.TrackStarted = true } }

// WithRetry sets the retry policy.
func WithRetry(p RetryPolicy) TaskOption { return func(d *Defaults) { d.Retry = p } }

// TimeLimits sets the soft limit, after which the handler's context is
// cancelled with [ErrSoftLimit], and the hard limit, after which the task has
// failed and its goroutine is abandoned. Zero is no limit.
func TimeLimits(soft, hard time.Duration) TaskOption {
	return func(d *Defaults) { d.SoftLimit, d.HardLimit = soft, hard }
}

// ExpiresAfter drops calls that did not start within d of being sent.
func ExpiresAfter(d time.Duration) TaskOption { return func(o *Defaults) { o.Expires = d } }

// KeepResult sets how long result and stream are kept after the end.
func KeepResult(d time.Duration) TaskOption { return func(o *Defaults) { o.KeepResult = d } }

// Retain bounds the task's stream.
func Retain(r engine.Retention) TaskOption { return func(o *Defaults) { o.Retention = r } }

func (d Defaults) check() error {
	switch {
	case d.Priority < 0 || d.Priority > 9:
		return fmt.Errorf("priority %d is not between 0 and 9", d.Priority)
	case d.SoftLimit < 0 || d.HardLimit < 0:
		return fmt.Errorf("time limits %v, %v must not be negative", d.SoftLimit, d.HardLimit)
	case d.HardLimit > 0 && d.SoftLimit > d.HardLimit:
		return fmt.Errorf("soft limit %v is above the hard limit %v", d.SoftLimit, d.HardLimit)
	case d.Expires < 0:
		return fmt.Errorf("expiry %v must not be negative", d.Expires)
	case len(d.Queue) > engine.MaxQueue:
		return fmt.Errorf("queue name of %d bytes, at most %d are allowed", len(d.Queue), engine.MaxQueue)
	}
	return d.Retry.check()
}

func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("the name is empty")
	}
	if len(name) > engine.MaxID {
		return fmt.Errorf("the name has %d bytes, at most %d are allowed", len(name), engine.MaxID)
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '\uFFFD' {
			return fmt.Errorf("the name %q has spaces, control characters or invalid UTF-8", name)
		}
	}
	return nil
}

// Input reads the arguments of a call of this task, as its handler would get
// them.
func (t *Task[In, Out]) Input(c *Call) (In, error) { return t.args.decode(c.Args, c.Kwargs) }
