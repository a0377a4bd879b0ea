package cli

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/worker"
)

// workerFlags are those of every subcommand that runs tasks.
type workerFlags struct {
	Queues        []string      `name:"queues" short:"Q" placeholder:"NAME,…" help:"Queues to take from (celery)."`
	Grace         time.Duration `name:"grace" default:"10s" help:"How long running tasks may go on after a stop, 0 for not at all (${default})."`
	MaxDeliveries int           `name:"max-deliveries" placeholder:"N" help:"Dead-letter a message that was handed out N times and never settled (5)."`
	Events        bool          `name:"events" short:"E" help:"Send events of tasks from the start, for Flower and celery events."`
	TrackStarted  bool          `name:"track-started" help:"Let results say STARTED with the worker's name and process, as task_track_started."`
	Extended      bool          `name:"extended-results" help:"Keep name, arguments, worker and queue with results, as result_extended."`
	Node          string        `name:"node" aliases:"hostname" short:"n" placeholder:"NAME" help:"This worker's name, with %h for the host, %n for its first part and %d for the rest (celery@%h)."`
}

// worker makes a worker of the program's tasks.
func (f *workerFlags) worker(app *rhubarb.App, env *Env, concurrency int, mw ...func(rhubarb.Handler) rhubarb.Handler) (*worker.Worker, error) {
	if len(env.Tasks) == 0 {
		return nil, badInput("this program has no tasks to run: give them to cli.Main in your own program")
	}
	grace := f.Grace
	if grace == 0 {
		grace = time.Nanosecond // zero means the default there
	}
	w, err := worker.New(app, env.Tasks, &worker.Options{
		Queues: f.Queues, Concurrency: concurrency, Grace: grace, MaxDeliveries: f.MaxDeliveries,
		Name: nodeName(f.Node), URL: env.URL, Events: f.Events, Run: mw, Logger: env.Log,
		TrackStarted: f.TrackStarted, ExtendedResults: f.Extended,
	})
	if err != nil {
		return nil, Exit(BadInput, err)
	}
	return w, nil
}

func (f *workerFlags) queues(app *rhubarb.App) []string {
	if len(f.Queues) > 0 {
		return f.Queues
	}
	return []string{app.DefaultQueue()}
}

// run runs the worker until ctx ends.
func (f *workerFlags) run(ctx context.Context, w *worker.Worker, app *rhubarb.App, env *Env) error {
	env.Log.Info("worker started", "name", w.Name(), "queues", f.queues(app), "tasks", len(env.Tasks))
	stop := context.AfterFunc(ctx, func() {
		env.Log.Info("worker stopping", "name", w.Name(), "running", w.Active(), "grace", f.Grace)
	})
	err := w.Run(ctx)
	stop()
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) { // a stop while it started is a stop
		return Exit(Unreachable, err)
	}
	env.Log.Info("worker stopped", "name", w.Name())
	return nil
}

type workerCmd struct {
	workerFlags

	Concurrency int `name:"concurrency" short:"c" placeholder:"N" help:"How many tasks may run at once (100)."`
}

// Help is what worker --help says further.
func (c *workerCmd) Help() string {
	return "SIGINT or SIGTERM stops softly: running tasks go on for the grace, what has not started goes back at once. " +
		"A second signal ends the process; its tasks are run again by another worker."
}

// Run runs the worker.
func (c *workerCmd) Run(ctx context.Context, env *Env) error {
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	w, err := c.worker(app, env, c.Concurrency)
	if err != nil {
		return err
	}
	return c.run(ctx, w, app, env)
}

// nodeName expands a node's name: celery/utils/nodenames.py host_format and
// default_nodename. Empty stays so, for the worker's own default.
func nodeName(s string) string {
	if s == "" {
		return ""
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name, domain, _ := strings.Cut(host, ".")
	s = strings.NewReplacer("%h", host, "%n", name, "%d", domain, "%%", "%").Replace(s)
	if name, at, found := strings.Cut(s, "@"); found {
		return cmp.Or(name, "celery") + "@" + cmp.Or(at, host)
	}
	return "celery@" + s // as in Celery, a bare word names the host
}
