package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rhubarb-go/rhubarb/cli"
)

// process is a program of tasks in a process of its own.
type process struct {
	*exec.Cmd
	stderr *buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{exec.CommandContext(t.Context(), self, args...), watched()}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stderr = p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func (p *process) exit(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func TestFirstSignalStopsAWorkerSoftly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "worker", "--data", dir)
	p.stderr.has(t, "worker started")
	p.signal(t, syscall.SIGTERM)
	if got := p.exit(t); got != 0 {
		t.Errorf("got exit %d, %s, want 0", got, p.stderr)
	}
	p.stderr.has(t, "worker stopped")
}

// What a worker was running when the second signal ended it runs again.
func TestSecondSignalStopsAWorkerAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "worker", "--data", dir, "--grace=-1s")
	p.stderr.has(t, "worker started")
	s := &shell{t: t, p: cli.Program{Name: "app", Tasks: tasks}}
	s.want(0, "b1\n", "", "call", "once.deaf", "--id", "b1", "--data", dir)
	p.stderr.has(t, "deaf now")
	p.signal(t, syscall.SIGTERM)
	p.stderr.has(t, "worker stopping")
	p.signal(t, os.Interrupt) // another signal, for two of one may become one
	if got := p.exit(t); got != 130 {
		t.Errorf("got exit %d, %s, want 130", got, p.stderr)
	}

	next := start(t, "worker", "--data", dir)
	s.want(0, "attempt 2\n", "", "result", "b1", "--wait", "--data", dir)
	next.signal(t, syscall.SIGTERM)
	if got := next.exit(t); got != 0 {
		t.Errorf("the next worker: got exit %d, %s, want 0", got, next.stderr)
	}
}
