package cli_test

import (
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
		{"a Redis", "--url", "redis://localhost", "redis"},
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
