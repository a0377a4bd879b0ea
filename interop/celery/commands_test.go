package celery_test

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb/interop"
)

// celeryCommand runs Celery's own command line and returns what it prints.
func celeryCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd, err := site.pythonCommand(python, false, append([]string{"-m", "celery", "-A", "tasks"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return output(t, cmd)
}

// rhubarbCommand runs ours.
func rhubarbCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(site.rhubarb, args...)
	cmd.Env = site.in()
	return output(t, cmd)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// prints are commands about a worker and what they must print. NODE and QUEUE
// stand for the worker's, and LOST for a queue that nobody takes from, which
// holds one message.
type prints struct{ command, want string }

// Of Celery's command line, to a worker of ours.
var ofCelery = []prints{
	{"status -d NODE", "NODE: OK"},
	{"inspect ping -d NODE", "pong"},
	{"inspect active_queues -d NODE", "QUEUE"},
	{"inspect registered -d NODE", "interop.add"},
	{"inspect stats -d NODE", `"max-concurrency"`},
	{"control rate_limit interop.size 100/s -d NODE", "new rate limit set successfully"},
	{"control add_consumer QUEUE.more -d NODE", "add consumer QUEUE.more"},
	{"purge -f -Q LOST", "Purged 1 message"},
}

// Of ours, to a worker of Celery's.
var ofRhubarb = []prints{
	{"inspect ping -d NODE", "pong"},
	{"inspect active_queues -d NODE", "QUEUE"},
	{"inspect registered -d NODE", "interop.add"},
	{"inspect stats -d NODE", "max-concurrency"},
	{"inspect conf -d NODE", "task_send_sent_event"},
	{"control rate_limit interop.size 100/s -d NODE", "new rate limit set successfully"},
	{"purge LOST --yes", "1"},
}

func TestCeleryCommands(t *testing.T) {
	need(t)
	commands(t, golang, ofCelery, celeryCommand)
	t.Run("call and result", func(t *testing.T) {
		t.Parallel()
		id := strings.TrimSpace(celeryCommand(t, "call", "interop.add", "--args=[20, 22]", "--queue="+golang.queue(false)))
		if _, err := site.clients[golang].get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got := celeryCommand(t, "result", id); strings.TrimSpace(got) != "42" {
			t.Errorf("result prints %q, want 42", got)
		}
	})
	t.Run("events", func(t *testing.T) {
		t.Parallel()
		cmd, err := site.pythonCommand(python, false, "-u", "-m", "celery", "-A", "tasks", "events", "--dump")
		if err != nil {
			t.Fatal(err)
		}
		hears(t, cmd, golang)
	})
}

func TestRhubarbCommands(t *testing.T) {
	need(t)
	for _, k := range []kind{python, oldest} {
		t.Run(string(k), func(t *testing.T) {
			commands(t, k, ofRhubarb, rhubarbCommand)
			t.Run("call and result", func(t *testing.T) {
				t.Parallel()
				got := rhubarbCommand(t, "call", "interop.add", "--args=[20, 22]", "--queue="+k.queue(false), "--wait")
				if !strings.Contains(got, "42") {
					t.Errorf("call prints %q, want 42", got)
				}
			})
			t.Run("events", func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(site.rhubarb, "events")
				cmd.Env = site.in()
				hears(t, cmd, k)
			})
		})
	}
}

// commands runs each command and looks for what it must print.
func commands(t *testing.T, k kind, table []prints, run func(*testing.T, ...string) string) {
	for _, c := range table {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			lost := "lost." + uuid.NewString()
			if strings.Contains(c.command, "LOST") {
				r := begin(t, direction{k, k}, scenario{})
				r.submit(&call{Task: "interop.add", Args: []any{1, 2}, Queue: lost})
			}
			names := strings.NewReplacer("NODE", k.node(false), "QUEUE", k.queue(false), "LOST", lost)
			got := run(t, strings.Fields(names.Replace(c.command))...)
			if want := names.Replace(c.want); !strings.Contains(plain(got), want) {
				t.Errorf("it prints\n%s\nwant %q", got, want)
			}
		})
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func plain(text string) string { return colours.ReplaceAllString(text, "") }

// hears checks that a program tells of a heartbeat of a worker.
func hears(t *testing.T, cmd *exec.Cmd, k kind) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	timed.Dir, timed.Env = cmd.Dir, cmd.Env
	p, _, err := interop.Start(timed, regexp.MustCompile(`(?i)`+regexp.QuoteMeta(k.node(false))+`.*heartbeat|heartbeat.*`+regexp.QuoteMeta(k.node(false))))
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Kill() // an error always: it was killed
}
