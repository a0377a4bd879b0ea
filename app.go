package rhubarb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb/control"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// DefaultQueue is Celery's name for the queue of calls that name none.
const DefaultQueue = "celery"

// Options configures an App. The zero value is ready to use.
type Options struct {
	// Queue is where calls go that name none. Empty means "celery".
	Queue string

	// KeepResults is how long results and streams are kept after the end of
	// a task. Zero means 24 hours, as in Celery; negative means forever.
	KeepResults time.Duration

	// Origin names this process in messages. Empty means gen<pid>@<host>.
	Origin string

	// Routes say where calls go by the name of their task, where neither the
	// call nor the task does: a route of the very name first, then the first
	// pattern that fits. What none fits goes to Queue.
	Routes []Route

	// InheritPriority gives calls that a task makes, its links and the next
	// step of its chain the task's own priority, unless they have one.
	// Celery's task_inherit_parent_priority.
	InheritPriority bool

	// SentEvents tells monitors of every call: Celery's task_send_sent_event.
	SentEvents bool

	// Send is middleware around every call on its way out, the first one
	// outermost.
	Send []func(next SendFunc) SendFunc
}

// SendFunc sends calls and answers each, in order.
type SendFunc func(ctx context.Context, calls []*Call) []Sent

// Sent is the answer to one call.
type Sent struct {
	// ID is the id of the task: the call's, or that of the earlier call with
	// its idempotency key, in which case Duplicate is set.
	ID        string
	Duplicate bool
	// Err says why the call was not accepted.
	Err error
}

// App is the caller's side: it knows the engine and sends calls. Its methods
// may be called at once. It starts nothing and needs no closing; the engine
// does.
type App struct {
	engines engine.Set
	opts    Options
	routes  routes
	replyTo string
	send    SendFunc
	events  *event.Sender // nil: none are sent
	control *control.Client
}

// New makes an App on the engines of set. Nil options are the defaults.
func New(set engine.Set, opts *Options) (*App, error) {
	if set.Broker == nil || set.Results == nil || set.Streams == nil {
		return nil, errors.New("rhubarb: new app: the engine set needs a Broker, Results and Streams")
	}
	a := &App{engines: set, replyTo: uuid.NewString()}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.Queue == "" {
		a.opts.Queue = DefaultQueue
	}
	if len(a.opts.Queue) > engine.MaxQueue {
		return nil, fmt.Errorf("rhubarb: new app: queue name of %d bytes, at most %d are allowed", len(a.opts.Queue), engine.MaxQueue)
	}
	var err error
	if a.routes, err = newRoutes(a.opts.Routes); err != nil {
		return nil, fmt.Errorf("rhubarb: new app: %w", err)
	}
	if a.opts.KeepResults == 0 {
		a.opts.KeepResults = engine.DefaultTTL
	}
	if a.opts.Origin == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		// celery/utils/nodenames.py anon_nodename: gen<pid>@<host>.
		a.opts.Origin = fmt.Sprintf("gen%d@%s", os.Getpid(), host)
	}
	if a.opts.SentEvents {
		if a.events, err = event.NewSender(set.Broker, nil); err != nil {
			return nil, fmt.Errorf("rhubarb: new app: %w", err)
		}
	}
	if a.control, err = control.New(set.Broker, nil); err != nil {
		return nil, fmt.Errorf("rhubarb: new app: %w", err)
	}
	a.send = a.publish
	for _, mw := range slices.Backward(a.opts.Send) {
		a.send = mw(a.send)
	}
	return a, nil
}

// Engines returns the engines the app was made with.
func (a *App) Engines() engine.Set { return a.engines }

// KeepResults returns how long results are kept by default.
func (a *App) KeepResults() time.Duration { return a.opts.KeepResults }

// DefaultQueue returns the queue of calls that name none.
func (a *App) DefaultQueue() string { return a.opts.Queue }

// Send sends calls in one batch and answers each. Inside a task, calls become
// its children.
func (a *App) Send(ctx context.Context, calls ...*Call) []Sent {
	now := time.Now()
	for _, c := range calls {
		a.complete(ctx, c, now)
	}
	sent := a.send(ctx, calls)
	if inv := Current(ctx); inv != nil && inv.Sent != nil {
		for _, s := range sent {
			if s.Err == nil {
				inv.Sent.Add(s.ID)
			}
		}
	}
	return sent
}

func (a *App) send1(ctx context.Context, c *Call) (Sent, error) {
	sent := a.Send(ctx, c)[0]
	return sent, sent.Err
}

// complete fills what the caller left open.
func (a *App) complete(ctx context.Context, c *Call, now time.Time) {
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	a.route(c)
	c.setExpiry(now)
	if inv := Current(ctx); inv != nil {
		if c.RootID == "" {
			c.RootID = inv.RootID
		}
		if c.ParentID == "" {
			c.ParentID = inv.ID
		}
		a.Inherit(c, inv.Priority)
	}
	if c.RootID == "" {
		c.RootID = c.ID
	}
}

// Inherit gives a call the priority of the task it comes from, if the app's
// option says so and the call has none.
func (a *App) Inherit(c *Call, priority int) {
	if a.opts.InheritPriority && c.Priority == 0 {
		c.Priority = priority
	}
}

// publish is the innermost SendFunc.
func (a *App) publish(ctx context.Context, calls []*Call) []Sent {
	out := make([]Sent, len(calls))
	pubs := make([]engine.Publication, 0, len(calls))
	at := make([]int, 0, len(calls)) // which call each publication is of
	for i, c := range calls {
		p, err := a.Publication(c)
		if err != nil {
			out[i].Err = fmt.Errorf("rhubarb: send %s: %w", c.Task, err)
			continue
		}
		pubs, at = append(pubs, p), append(at, i)
	}
	if len(pubs) == 0 {
		return out
	}
	for i, r := range a.engines.Broker.Publish(ctx, pubs) {
		s := &out[at[i]]
		s.ID, s.Duplicate = r.ID, r.Duplicate
		if r.Err != nil {
			s.Err = fmt.Errorf("rhubarb: send %s to queue %s: %w", calls[at[i]].Task, pubs[i].Queue, r.Err)
		} else if a.events != nil && !r.Duplicate {
			a.tellSent(ctx, calls[at[i]])
		}
	}
	return out
}

// tellSent tells monitors of a call. The call is sent all the same if they
// cannot be told. celery/app/amqp.py send_task_message.
func (a *App) tellSent(ctx context.Context, c *Call) {
	args, kwargs := celery.Repr(c.Args, c.Kwargs)
	_ = a.events.Publish(ctx, event.TaskSent(event.Sent{ID: c.ID, RootID: c.RootID, ParentID: c.ParentID,
		Name: c.Task, Args: args, Kwargs: kwargs, ETA: c.ETA, Expires: c.Expires, Queue: c.Queue, Key: c.Queue}))
}

// Publication writes a call as what an engine carries. A queue that the call
// leaves open is that of its route. Workers use it for messages that go along
// with a settlement; send middleware does not see those.
func (a *App) Publication(c *Call) (engine.Publication, error) {
	a.route(c)
	c.setExpiry(time.Now())
	if err := c.check(); err != nil {
		return engine.Publication{}, err
	}
	m, err := a.task(c).Message()
	if err != nil {
		return engine.Publication{}, err
	}
	p := engine.Publication{Message: m, Queue: c.Queue, Priority: c.Priority, At: c.ETA, Key: c.Key, KeyTTL: c.KeyTTL}
	if p.Key != "" && p.KeyTTL == 0 {
		p.KeyTTL = engine.DefaultTTL
	}
	return p, nil
}

// task writes the call in Celery's terms.
func (a *App) task(c *Call) *celery.Task {
	t := &celery.Task{
		Lang: "go", Name: c.Task, ID: c.ID, Shadow: c.Shadow, ETA: c.ETA, Expires: c.Expires,
		Group: c.GroupID, GroupIndex: c.GroupIndex, RootID: c.RootID, ParentID: c.ParentID, Origin: a.opts.Origin,
		IgnoreResult: c.IgnoreResult, SoftLimit: c.SoftLimit, HardLimit: c.HardLimit,
		Args: c.Args, Kwargs: c.Kwargs, ReplyTo: c.ReplyTo, Priority: c.Priority, Compression: c.Compression,
		Embed: celery.Embed{Callbacks: c.Links, Errbacks: c.LinkErrors, Chain: c.Chain, Chord: c.Chord},
		Extra: c.headers(),
	}
	if t.ReplyTo == "" {
		t.ReplyTo = a.replyTo
	}
	if len(c.Stamps) > 0 {
		t.Stamps, t.StampedHeaders = c.Stamps, slices.Sorted(maps.Keys(c.Stamps))
	}
	t.ArgsRepr, t.KwargsRepr = celery.Repr(c.Args, c.Kwargs)
	return t
}

// Revoke stops tasks: one that waits will not run, a running one has its
// context cancelled with [ErrRevoked], a finished one is left alone. Workers in
// Python are told as well; one that runs such a task has its process terminated.
//
// The engine keeps the revocation, and an error means that it does not for
// some of the ids. That Python workers heard of it is not known: Celery's
// broadcasts reach those who listen.
func (a *App) Revoke(ctx context.Context, ids ...string) error {
	states := make([]engine.State, len(ids))
	for i, id := range ids {
		states[i] = RevokedState(id, "revoked", a.opts.KeepResults)
	}
	var errs []error
	for i, err := range a.engines.Broker.Revoke(ctx, states) {
		if err != nil {
			errs = append(errs, fmt.Errorf("rhubarb: revoke %s: %w", ids[i], err))
		}
	}
	for some := range slices.Chunk(ids, maxTold) {
		// The engine has what counts, or errs says so: a broadcast promises
		// nothing that its failure would break.
		_ = a.control.Cast(ctx, control.Revoke(some...))
	}
	return errors.Join(errs...)
}

// maxTold bounds the ids in one broadcast, so that it is a message of the size
// that engines carry.
const maxTold = 1000

// RevokedState is the final state of a task that did not run to its end.
// celery/exceptions.py TaskRevokedError; reason is "revoked", "expired" or
// "terminated".
func RevokedState(id, reason string, keep time.Duration) engine.State {
	return failedState(id, engine.Revoked, celery.Exception{Type: "TaskRevokedError", Module: "celery.exceptions"}.With(reason), keep)
}

// FailedState is a final FAILURE that no handler returned: the worker was
// lost, the message was unreadable.
func FailedState(id, excType, reason string, keep time.Duration) engine.State {
	return failedState(id, engine.Failure, celery.Exception{Type: excType, Module: "billiard.exceptions"}.With(reason), keep)
}

func failedState(id, status string, x celery.Exception, keep time.Duration) engine.State {
	r := celery.Result{Status: status, Result: x.JSON(), TaskID: id, DateDone: time.Now()}
	return engine.State{ID: id, Status: status, Record: r.Append(nil), TTL: keep}
}

// Result returns a handle on any task by its id, with its output as raw JSON.
func (a *App) Result(id string) *Result[json.RawMessage] {
	return &Result[json.RawMessage]{id: id, app: a}
}
