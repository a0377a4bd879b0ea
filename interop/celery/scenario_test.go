package celery_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

// scenario is one way to use a task and what must come of it, whoever sends it
// and whoever runs it.
type scenario struct {
	name string

	// send makes the call anew for each run.
	send func(*run) *call

	// second sends it to the worker that runs one task at a time and stores
	// extended results.
	second bool

	// during looks at what is true while the task waits for a gate.
	during func(*run)

	// want is what the last step comes to, and events what is heard of it.
	want   end
	events string

	// after looks at what else is true at the end.
	after func(*run)

	// notFrom and notAt are the clients and workers that the scenario cannot
	// be asked of, with the reason.
	notFrom, notAt map[kind]string
}

// direction is who sends and who runs.
type direction struct{ from, to kind }

func (d direction) String() string { return string(d.from) + " to " + string(d.to) }

// directions are all, from Celery to Celery first.
func directions() []direction {
	var all []direction
	for _, from := range kinds {
		for _, to := range kinds {
			all = append(all, direction{from, to})
		}
	}
	return all
}

// run is one scenario in one direction.
type run struct {
	*testing.T
	direction
	scenario
	ctx  context.Context // ends with the test, or its patience
	from client
	call *call
	sent time.Time // just before
}

// check runs the scenarios of a table in all directions that they are for.
func check(t *testing.T, table []scenario) {
	need(t)
	t.Parallel()
	for _, s := range table {
		t.Run(s.name, func(t *testing.T) {
			for _, d := range directions() {
				if s.notFrom[d.from]+s.notAt[d.to] != "" {
					continue
				}
				t.Run(d.String(), func(t *testing.T) {
					t.Parallel()
					begin(t, d, s).through()
				})
			}
		})
	}
}

func begin(t *testing.T, d direction, s scenario) *run {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &run{T: t, direction: d, scenario: s, ctx: ctx, from: site.clients[d.from]}
}

func (r *run) through() {
	r.call = r.scenario.send(r)
	r.sent = time.Now()
	r.submit(r.call)
	if r.during != nil {
		r.during(r)
	}
	if last := r.call.last(); r.want.State != "" {
		r.ends(last, r.want)
		if r.events != "" {
			r.heard(last, r.events)
		}
	}
	if r.after != nil {
		r.after(r)
	}
}

// submit gives a call, and all that goes along, ids and queues where they have
// none, and sends it.
func (r *run) submit(c *call) {
	r.Helper()
	for _, part := range append(c.parts(), c) {
		if part.ID == "" {
			part.ID = uuid.NewString()
		}
		if part.Queue == "" {
			part.Queue = r.queue()
		}
	}
	if err := r.from.send(r.ctx, c); err != nil {
		r.Fatalf("send %s: %v", c.Task, err)
	}
}

func (r *run) queue() string { return r.to.queue(r.second) }
func (r *run) node() string  { return r.to.node(r.second) }

// path is a file of the run's own that is not there yet.
func (r *run) path(name string) string { return filepath.Join(r.TempDir(), name) }

// open opens a gate.
func (r *run) open(gate string) {
	r.Helper()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		r.Fatal(err)
	}
}

// gated sends a task whose only argument is a gate.
func gated(task string) func(*run) *call {
	return func(r *run) *call { return one(task, r.path("gate")) }
}

// gate is the gate of such a call.
func (r *run) gate() string { return r.call.Args[0].(string) }
