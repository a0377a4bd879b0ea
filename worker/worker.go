package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Options configures a Worker. The zero value is ready to use.
type Options struct {
	// Queues to take from. Empty means the app's default queue.
	Queues []string

	// Concurrency is how many tasks may run at once. Zero means 100.
	Concurrency int

	// Grace is how long running tasks may go on after Run's context ends.
	// Zero means 10 seconds; negative means no limit.
	Grace time.Duration

	// MaxDeliveries is how often a message may be handed out without being
	// settled before it is dead-lettered. Zero means 5; negative means no
	// limit.
	MaxDeliveries int

	// MaxBody bounds a message's body after decompression, in bytes. Zero
	// means 16 MiB.
	MaxBody int

	// TrackStarted keeps the state STARTED of every task, see
	// [rhubarb.TrackStarted].
	TrackStarted bool

	// ExtendedResults adds the task's name, arguments, retries, queue and
	// stamps and the worker's name to every state. Celery's result_extended.
	ExtendedResults bool

	// KeepErrors keeps failures of tasks whose result is ignored, see
	// [rhubarb.KeepErrors].
	KeepErrors bool

	// Events has events of tasks sent from the start: Celery's -E. Those that
	// say how the worker is are always sent.
	Events bool

	// Name is the worker's node name. Empty means celery@<host>.
	Name string

	// NoControl turns remote control off: the worker neither answers nor obeys
	// celery inspect, celery control and their like here.
	NoControl bool

	// URL is that of the engine, for those who ask the worker about it.
	// Passwords in it are masked.
	URL string

	// Run is middleware around every handler, the first one outermost.
	Run []func(next rhubarb.Handler) rhubarb.Handler

	// Logger gets what an operator should know; nil means slog.Default().
	// Nothing is logged per task at Info and payloads never are.
	Logger *slog.Logger
}

const (
	defaultConcurrency = 100
	defaultGrace       = 10 * time.Second
)

// Worker runs tasks. It is made once and its Run is called once at a time.
type Worker struct {
	app     *rhubarb.App
	tasks   map[string]*task
	opts    Options
	log     *slog.Logger
	running atomic.Bool
	beaten  atomic.Int64 // Unix nanoseconds of the last good heartbeat
	active  atomic.Int64

	processed atomic.Int64 // tasks begun
	clock     celery.Clock // of events and remote control
}

// task is a definition with its middleware.
type task struct {
	*rhubarb.Definition
	run rhubarb.Handler

	accepted atomic.Int64
	rate     atomic.Pointer[rate]       // nil: any number may start
	limits   atomic.Pointer[timeLimits] // nil: those of the definition
}

// New makes a worker for the tasks. Two tasks of one name, and engines that do
// not keep messages, results and streams together, are errors.
func New(app *rhubarb.App, tasks []rhubarb.Runnable, opts *Options) (*Worker, error) {
	w := &Worker{app: app, tasks: make(map[string]*task, len(tasks))}
	if opts != nil {
		w.opts = *opts
	}
	if err := w.defaults(); err != nil {
		return nil, fmt.Errorf("worker: new: %w", err)
	}
	if !app.Engines().Unified() {
		return nil, errors.New("worker: new: broker, results and streams must be one engine in this version")
	}
	for _, t := range tasks {
		def := t.Definition()
		if w.tasks[def.Name] != nil {
			return nil, fmt.Errorf("worker: new: two tasks are named %q", def.Name)
		}
		run := def.Run
		for _, mw := range slices.Backward(w.opts.Run) {
			run = mw(run)
		}
		w.tasks[def.Name] = &task{Definition: def, run: run}
	}
	return w, nil
}

func (w *Worker) defaults() error {
	o := &w.opts
	if len(o.Queues) == 0 {
		o.Queues = []string{w.app.DefaultQueue()}
	}
	for _, q := range o.Queues {
		if q == "" || len(q) > engine.MaxQueue {
			return fmt.Errorf("queue name %q has %d bytes, it needs 1 to %d", q, len(q), engine.MaxQueue)
		}
	}
	if o.Concurrency < 0 {
		return fmt.Errorf("concurrency %d is negative", o.Concurrency)
	}
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		o.Name = "celery@" + host
	}
	if w.log = o.Logger; w.log == nil {
		w.log = slog.Default()
	}
	return nil
}

// Name returns the worker's node name.
func (w *Worker) Name() string { return w.opts.Name }

// Active returns how many tasks it holds now.
func (w *Worker) Active() int { return int(w.active.Load()) }

// Beaten returns when the engine last answered this worker; the zero time if
// it never did. A worker that runs well is beaten every 2.5 seconds, and every
// 5 when it has nothing to do.
func (w *Worker) Beaten() time.Time {
	ns := w.beaten.Load()
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// Run takes and runs tasks until ctx ends, then stops as the package describes
// and returns nil. An error means that the engine cannot be used any more, or
// that the worker runs already.
func (w *Worker) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return errors.New("worker: run: it is running already")
	}
	defer w.running.Store(false)

	events, err := w.newSender()
	if err != nil {
		return fmt.Errorf("worker: run: %w", err)
	}
	ctx, shutdown := context.WithCancel(ctx)
	defer shutdown()
	recv, err := w.receive(ctx, w.opts.Queues)
	if ctx.Err() != nil && err != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return fmt.Errorf("worker: receive from %v: %w", w.opts.Queues, err)
	}
	s := newSession(ctx, w, recv, events)
	defer s.close()
	if err := s.mount(shutdown); err != nil {
		return err
	}
	s.start(ctx)
	err = s.takeAll(ctx)
	s.stop()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("worker: take from %v: %w", w.opts.Queues, err)
	}
	return nil
}

// shelve is the final state of a message that the engine buries by itself.
func (w *Worker) shelve(m engine.Message, reason string) engine.State {
	w.log.Error("message dead-lettered", "task", m.Task, "id", m.ID, "err", reason)
	return rhubarb.FailedState(m.ID, "WorkerLostError", reason, w.app.KeepResults())
}

func (w *Worker) limits() celery.Limits { return celery.Limits{MaxBody: w.opts.MaxBody} }
