package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"sync"
	"time"
)

const (
	// stopWait is how long a worker may take to stop before it is killed.
	stopWait = 5 * time.Second
	// minLife bounds how often a worker that cannot start is started.
	minLife = time.Second
)

// child is a worker process as the page shows it.
type child struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"`      // 0 while there is none
	Restarts int    `json:"restarts"` // since the demo began
}

// supervisor keeps worker processes running.
type supervisor struct {
	start func(name string) *exec.Cmd
	log   *slog.Logger

	mu       sync.Mutex
	children []child
	procs    []*exec.Cmd // by the same index
}

func newSupervisor(names []string, start func(name string) *exec.Cmd, log *slog.Logger) *supervisor {
	s := &supervisor{start: start, log: log, procs: make([]*exec.Cmd, len(names))}
	for _, name := range names {
		s.children = append(s.children, child{Name: name})
	}
	return s
}

// Run starts the workers, and each again at once when it dies. When ctx ends
// it stops them softly and waits for that.
func (s *supervisor) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i := range s.children {
		all.Go(func() { s.keep(ctx, i) })
	}
	all.Wait()
	return nil
}

// keep runs one worker after another until ctx ends.
func (s *supervisor) keep(ctx context.Context, i int) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := s.once(ctx, i); err != nil && ctx.Err() == nil {
			s.log.Warn("worker ended", "name", s.children[i].Name, "err", err)
		}
		if time.Since(began) > minLife {
			continue
		}
		select { // so that one that cannot start does not spin
		case <-time.After(minLife):
		case <-ctx.Done():
		}
	}
}

// once runs a worker to its end. The worker's stdin is how it knows that the
// demo lives; the line "stop" asks it to stop softly.
func (s *supervisor) once(ctx context.Context, i int) error {
	cmd := s.start(s.children[i].Name)
	life, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, life.Close())
	}
	s.set(i, cmd)
	defer s.set(i, nil)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // received below
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if _, err := io.WriteString(life, "stop\n"); err != nil {
		s.log.Debug("worker was gone before it could be stopped", "err", err)
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(stopWait):
		return errors.Join(cmd.Process.Kill(), <-ended)
	}
}

func (s *supervisor) set(i int, cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.children[i]
	s.procs[i] = cmd
	if cmd == nil {
		c.PID = 0
		c.Restarts++
		return
	}
	c.PID = cmd.Process.Pid
}

// Children returns the workers as they are now.
func (s *supervisor) Children() []child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.children)
}

// Kill ends one of the workers with SIGKILL: the one with the pid, or with 0
// the first that runs.
func (s *supervisor) Kill(pid int) (child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.children {
		if c.PID == 0 || pid != 0 && c.PID != pid {
			continue
		}
		return c, s.procs[i].Process.Kill()
	}
	return child{}, fmt.Errorf("no worker has pid %d", pid)
}
