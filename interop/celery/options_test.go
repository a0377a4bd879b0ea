package celery_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// notBefore checks that a task has a time that is so long after it was sent,
// and was not started before. All times are of one machine.
func notBefore(d time.Duration) func(*run) {
	return func(r *run) {
		const slack = 20 * time.Millisecond // of Celery's timer
		for _, e := range r.listen(r.call, ordinary) {
			switch e.text("type") {
			case "task-received":
				eta, err := time.Parse(time.RFC3339, e.text("eta"))
				if err != nil || eta.Before(r.sent.Add(d-slack)) {
					r.Errorf("its time is %v (%v), want %v after %v", eta, err, d, r.sent)
				}
			case "task-started":
				at, _ := e["timestamp"].(float64)
				if started := time.UnixMicro(int64(at * 1e6)); started.Before(r.sent.Add(d - slack)) {
					r.Errorf("it was started %v after it was sent, want %v", started.Sub(r.sent), d)
				}
			}
		}
	}
}

// extended checks what else is in a record with result_extended.
func extended(r *run) {
	raw, _ := r.record(r.call)
	rec := r.stored(r.call, r.want)
	if rec.Name != "interop.add" || rec.Worker != r.node() || rec.Queue != r.queue() || rec.Retries == nil || *rec.Retries != 0 {
		r.Errorf("the record is %s, want interop.add of %s on %s", raw, r.node(), r.queue())
	}
	r.same("args", rec.Args, []any{2}, bare)
	r.same("kwargs", rec.Kwargs, object{"y": 3}, bare)
}

// odd is a call with an id that is no UUID.
func odd(*run) *call {
	c := one("add", 1, 1)
	c.ID = "order/17: " + uuid.NewString()
	return c
}

func compressed(how string) func(*run) *call {
	return func(*run) *call {
		c := one("size", strings.Repeat("stalks of rhubarb ", 2000))
		c.Compression = how
		return c
	}
}

var unstamped = map[kind]string{oldest: "5.2 has no stamps"}

var options = []scenario{
	{
		name: "countdown",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Countdown: 2 * time.Second} },
		want: succeeded(3), events: ordinary, after: notBefore(2 * time.Second),
	},
	{
		name: "eta in another zone",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, ETA: 2 * time.Second} },
		want: succeeded(3), events: ordinary, after: notBefore(2 * time.Second),
	},
	{
		name: "expires in time",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Expires: time.Hour} },
		want: succeeded(3), events: ordinary,
	},
	{name: "an id of its own", send: odd, want: succeeded(2), events: ordinary},
	{
		name: "headers",
		send: func(*run) *call {
			return &call{Task: "interop.headers", Headers: map[string]string{"tenant": "acme", "trace": "Ωmega"}}
		},
		want: succeeded([]any{"acme", "Ωmega"}), events: ordinary,
	},
	{
		name: "another name to show",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Shadow: "sum up"} },
		want: succeeded(3), events: ordinary,
	},
	{name: "compressed with gzip", send: compressed("gzip"), want: succeeded(36000), events: ordinary},
	{name: "compressed with zlib", send: compressed("zlib"), want: succeeded(36000), events: ordinary},
	{name: "compressed with bzip2", send: compressed("bzip2"), want: succeeded(36000), events: ordinary},
	{
		name: "protocol 1",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{1, 2}, Protocol: 1} },
		want: succeeded(3), events: ordinary, notFrom: map[kind]string{golang: "rhubarb sends protocol 2 alone"},
	},
	{
		name: "stamps",
		send: func(*run) *call {
			return &call{Task: "interop.add", Args: []any{1, 2}, Stamps: map[string]string{"site": "north"}}
		},
		want: succeeded(3), events: ordinary, notFrom: unstamped, notAt: unstamped,
	},
	{
		name: "stamps with result_extended", second: true,
		send: func(*run) *call {
			return &call{Task: "interop.add", Args: []any{1, 2}, Stamps: map[string]string{"site": "north"}}
		},
		want: succeeded(3), events: ordinary, notFrom: unstamped, notAt: unstamped,
	},
	{
		name: "what a task knows of itself", send: func(*run) *call { return one("about") },
		after: func(r *run) {
			r.ends(r.call, succeeded(object{
				"id": r.call.ID, "root_id": r.call.ID, "parent_id": nil, "retries": 0, "queue": r.queue(),
			}))
		},
	},
	{
		name: "result_extended", second: true,
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{2}, Kwargs: object{"y": 3}} },
		want: succeeded(5), events: ordinary, after: extended,
	},
}

func TestOptions(t *testing.T) { check(t, options) }

// Priorities need a worker that has nothing else to do, so these runs come one
// after the other.
func TestPriorities(t *testing.T) {
	need(t)
	for _, d := range directions() {
		t.Run(d.String(), func(t *testing.T) { inOrder(begin(t, d, scenario{second: true})) })
	}
}

// inOrder sends tasks to a worker that runs one at a time and is busy: those
// with smaller numbers come first.
func inOrder(r *run) {
	gate, file := r.path("gate"), r.path("notes")
	r.call = one("tracked", gate)
	r.submit(r.call)
	r.is("STARTED")
	sent := map[int]*call{}
	for _, p := range []int{9, 6, 3, 0} {
		c := one("note", file, string(rune('0'+p)))
		c.Priority = p
		r.submit(c)
		sent[p] = c
	}
	r.open(gate)
	for i, p := range []int{0, 3, 6, 9} {
		r.ends(sent[p], succeeded(slices.Clone([]string{"0", "3", "6", "9"}[:i+1])))
	}
}
