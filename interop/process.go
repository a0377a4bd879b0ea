package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Find returns the path of the first of the programs that is installed. Without
// any it ends the test.
func Find(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Lack(t, fmt.Sprintf("none of %v is installed: run scripts/setup", names))
	return ""
}

// Lack ends a test for want of something: it is skipped, or fails where all
// must be there.
func Lack(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("RHUBARB_REQUIRE_SERVERS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Process is a program that runs. Its methods are for one goroutine at a time.
type Process struct {
	cmd  *exec.Cmd
	read sync.WaitGroup

	mu    sync.Mutex
	words []string // the last lines of what it said
}

// maxWords bounds what is kept of a program's output, in lines.
const maxWords = 40

// Start runs a program until it is stopped. With ready it returns when a line
// of its output, of either kind, matches that, and what the groups in it did.
// The error of a program that ends before has its last lines.
func Start(cmd *exec.Cmd, ready *regexp.Regexp) (p *Process, said []string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("interop: start %s: %w", cmd.Path, err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	p = &Process{cmd: cmd}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return nil, nil, fmt.Errorf("interop: start %s: %w", cmd.Path, errors.Join(err, r.Close()))
	}
	match := make(chan []string, 1)
	p.read.Go(func() { p.listen(r, ready, match) })
	if ready == nil {
		return p, nil, nil
	}
	said, ok := <-match
	if !ok {
		return nil, nil, fmt.Errorf("interop: %s was never ready: %w", cmd.Path, p.Kill())
	}
	return p, said, nil
}

// listen reads the program's output to its end, so that it never waits.
func (p *Process) listen(r io.ReadCloser, ready *regexp.Regexp, match chan<- []string) {
	defer close(match)
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.words = append(p.words[max(0, len(p.words)-maxWords+1):], lines.Text())
		p.mu.Unlock()
		if ready == nil {
			continue
		}
		if m := ready.FindStringSubmatch(lines.Text()); m != nil {
			match <- m[1:]
			ready = nil
		}
	}
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended reports whether it was stopped or killed.
func (p *Process) Ended() bool { return p.cmd.ProcessState != nil }

// Stop sends SIGTERM and waits for the end, which must be one without an error.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends the program as a crash does. The error is there always, with its
// last lines.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

func (p *Process) end(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("interop: signal %s: %w", p.cmd.Path, err)
	}
	err := p.cmd.Wait()
	p.read.Wait()
	if err != nil {
		return fmt.Errorf("interop: %s ended with %w:\n%s", p.cmd.Path, err, strings.Join(p.words, "\n"))
	}
	return nil
}
