package cli_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/cli"
)

// Each run opens the embedded engine anew: what one process sent the next
// finds, on the disk.
func TestEmbeddedEngineKeepsWhatWasSent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := &shell{t: t, p: cli.Program{Name: "app", Tasks: tasks}}
	s.want(0, "kept\n", "", "call", "math.add", "1", "--id", "kept", "--data", dir)
	exit, out, errs := s.run("queues", "--data", dir, "--json")
	if exit != 0 || errs != "" || !strings.HasPrefix(out, `{"name":"celery","ready":1,"delayed":0,"held":0,`) {
		t.Errorf("got exit %d, stderr %q and %s", exit, errs, out)
	}
}

// A second program on the same directory joins the engine of the first.
func TestProgramsShareTheEmbeddedEngine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := &shell{t: t, p: cli.Program{Name: "app", Tasks: tasks}}
	ctx, stop := context.WithCancel(t.Context())
	errs, exit := watched(), make(chan int, 1)
	go func() { exit <- s.p.Run(ctx, []string{"worker", "--data", dir}, io.Discard, errs) }()
	errs.has(t, "worker started")
	s.want(0, "3\n", "", "call", "math.add", "1", "2", "--wait", "--data", dir)
	s.want(0, "one \nprogress 1 of 2\ntwo\nprogress 2 of 2\n{\"words\":2}\nsaid\n", "",
		"call", "talk", `["one ", "two"]`, "--follow", "--data", dir)
	s.want(1, "", "app: task d1 is REJECTED: Reject: not today\n", "call", "refuse", "--id", "d1", "--wait", "--data", dir)
	s.want(0, "", "dropped 1 message\n", "dead", "drop", "d1", "--yes", "--data", dir)
	stop()
	if got := <-exit; got != 0 {
		t.Errorf("worker: got exit %d, %q, want 0", got, errs)
	}
}

func TestEngineThatCannotBeOpenedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, p: cli.Program{Name: "app"}}
	for _, c := range []struct {
		name, flag, value, want string
	}{
		{"a data directory that is a file", "--data", file, file},
		{"a Redis that is not there", "--url", "redis://:secret@127.0.0.1:1", "127.0.0.1:1"},
		{"results on another server", "--results-url", "redis://:secret@h/1", "RHUBARB_RESULTS_URL"},
		{"a RabbitMQ", "--url", "amqp://guest:secret@localhost", "amqp"},
		{"something else", "--url", "ftp://localhost", "ftp"},
		{"a NATS server that is not there", "--url", "nats://user:secret@127.0.0.1:1", "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			exit, out, errs := s.run("queues", c.flag, c.value)
			if exit != 3 || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 || strings.Contains(errs, "secret") {
				t.Errorf("got exit %d, stdout %q, stderr %q, want 3 and one line with %q", exit, out, errs, c.want)
			}
		})
	}
}
