package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/worker"
)

type sum struct {
	A int `json:"a"`
	B int `json:"b,omitempty"`
}

var (
	add    = rhubarb.Define("math.add", func(_ context.Context, s sum) (int, error) { return s.A + s.B, nil })
	greet  = rhubarb.Define("greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil })
	fail   = rhubarb.Define("fail", func(context.Context, rhubarb.None) (string, error) { return "", errors.New("no luck") })
	refuse = rhubarb.Define("refuse", func(context.Context, rhubarb.None) (string, error) { return "", rhubarb.Reject("not today") })
	flaky  = rhubarb.Define("flaky", func(ctx context.Context, _ rhubarb.None) (string, error) {
		if rhubarb.Current(ctx).Attempt == 1 {
			return "", rhubarb.Retry(errors.New("try again"), 0)
		}
		return "done", rhubarb.Emit(ctx, "second time lucky")
	})
	talk = rhubarb.Define("talk", func(ctx context.Context, words []string) (string, error) {
		for i, w := range words {
			if err := rhubarb.Emit(ctx, w); err != nil {
				return "", err
			}
			if err := rhubarb.Progress(ctx, i+1, len(words)); err != nil {
				return "", err
			}
		}
		return "said", rhubarb.Emit(ctx, map[string]int{"words": len(words)})
	})
	// deaf does not return in its first attempt, whatever it is told.
	deaf = rhubarb.Define("once.deaf", func(ctx context.Context, _ rhubarb.None) (string, error) {
		if n := rhubarb.Current(ctx).Attempt; n > 1 {
			return fmt.Sprintf("attempt %d", n), nil
		}
		fmt.Fprintln(os.Stderr, "deaf now")
		select {}
	})
	tasks = []rhubarb.Runnable{add, greet, fail, refuse, flaky, talk, deaf}
)

// shell runs subcommands of one program on one engine.
type shell struct {
	t      *testing.T
	engine engine.Set
	app    *rhubarb.App
	p      cli.Program
}

func open(t *testing.T) *shell {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	set := engine.All(e)
	app, err := rhubarb.New(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &shell{t, set, app, cli.Program{
		Name: "app", Version: "v1.2.3", Tasks: tasks,
		Open: func(context.Context, string, string, *slog.Logger) (engine.Set, io.Closer, error) {
			return set, io.NopCloser(nil), nil
		},
	}}
}

// run runs a subcommand to its end.
func (s *shell) run(args ...string) (exit int, stdout, stderr string) {
	s.t.Helper()
	var out, errs buffer
	exit = s.p.Run(s.t.Context(), args, &out, &errs)
	return exit, out.String(), errs.String()
}

// want runs a subcommand and compares all that comes of it.
func (s *shell) want(exit int, stdout, stderr string, args ...string) {
	s.t.Helper()
	gotExit, gotOut, gotErr := s.run(args...)
	if gotExit != exit || gotOut != stdout || gotErr != stderr {
		s.t.Errorf("app %s\ngot  exit %d, stdout %q, stderr %q\nwant exit %d, stdout %q, stderr %q",
			strings.Join(args, " "), gotExit, gotOut, gotErr, exit, stdout, stderr)
	}
}

// work runs a worker until the test ends.
func (s *shell) work() {
	s.t.Helper()
	w, err := worker.New(s.app, tasks, &worker.Options{Grace: time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("worker", w.Run)
}

// until runs something that the end of the test stops.
func (s *shell) until(name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
	})
}

// buffer is written by one goroutine and watched by another.
type buffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{} // nil, or told of every write
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrote != nil {
		select {
		case b.wrote <- struct{}{}:
		default:
		}
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// watched makes a buffer whose writes can be waited for.
func watched() *buffer { return &buffer{wrote: make(chan struct{}, 1)} }

// has waits until the buffer has a part and returns all of it.
func (b *buffer) has(t *testing.T, part string) string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if text := b.String(); strings.Contains(text, part) {
			return text
		}
		select {
		case <-b.wrote:
		case <-deadline:
			t.Fatalf("no %q in %q", part, b.String())
		}
	}
}
