package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

const (
	envFull = "RHUBARB_TEST_FULL" // the empty directory a child mounts its disk on
	disk    = 48 << 20
	reserve = 16 << 20
)

// TestAFullDisk runs in a child with a small disk of its own: calls are
// refused before it is full, accepted work goes on, and when others fill it to
// the last byte the engine stops with a reason and goes on by itself later.
func TestAFullDisk(t *testing.T) {
	if dir := os.Getenv(envFull); dir != "" {
		fillDisk(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAFullDisk$")
	cmd.Env = append(os.Environ(), envFull+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("RHUBARB_REQUIRE_SERVERS") == "" {
		t.Skip("user namespaces are not allowed here, so no small disk can be mounted")
	}
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", disk)); err != nil {
		t.Fatal(err)
	}
	e, err := embedded.Open(t.Context(), dir, &embedded.Options{Reserve: reserve, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	accepted := publishUntilFull(t, e, dir)
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	finishOne(t, r, accepted) // although calls are refused

	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	writeUntilRefused(t, e)
	// The holder notices by itself, and says so to who comes next.
	waitFor(t, "the engine to stop", func() bool { return !e.Holds() })
	if other, err := embedded.Open(t.Context(), dir, nil); err == nil {
		other.Close()
		t.Error("a full directory was opened")
	} else if !strings.Contains(err.Error(), "is full") {
		t.Errorf("open a full directory: %v; want it to say that it is full", err)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the engine to come back", e.Holds)
	for len(accepted) > 0 {
		finishOne(t, r, accepted)
	}
	waitFor(t, "calls to be accepted", func() bool { return publishOne(t, e, "last") == nil })
}

func publishOne(t *testing.T, e *embedded.Engine, id string) error {
	p := engine.Publication{Message: engine.Message{ID: id, Task: "x", Body: make([]byte, 200_000)}, Queue: "q"}
	return e.Publish(t.Context(), []engine.Publication{p})[0].Err
}

func publishUntilFull(t *testing.T, e *embedded.Engine, dir string) map[string]bool {
	t.Helper()
	accepted := map[string]bool{}
	for i := range disk / 200_000 {
		id := fmt.Sprint("t", i)
		err := publishOne(t, e, id)
		if errors.Is(err, engine.ErrFull) && strings.Contains(err.Error(), dir) {
			return accepted
		}
		if err != nil {
			t.Fatalf("publish %d: %v; want that the disk is nearly full", i, err)
		}
		accepted[id] = true
	}
	t.Fatal("the disk was never full")
	return nil
}

// finishOne takes and settles one message, which must be an accepted one.
func finishOne(t *testing.T, r engine.Receiver, accepted map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ds, err := r.Take(ctx, 1)
	if err != nil {
		if ctx.Err() == nil { // the connection is only just back
			return
		}
		t.Fatalf("%d accepted messages are missing: %v", len(accepted), err)
	}
	d := ds[0]
	if !accepted[d.ID] || len(d.Body) != 200_000 {
		t.Errorf("took %s with %d bytes", d.ID, len(d.Body))
	}
	s := engine.Settlement{Delivery: d, Verdict: engine.Done, State: &engine.State{ID: d.ID, Status: "SUCCESS", Record: []byte(`{}`)}}
	if err := r.Settle(ctx, []engine.Settlement{s})[0]; err != nil {
		t.Fatalf("settle %s: %v", d.ID, err)
	}
	delete(accepted, d.ID)
}

// fill writes a file until the disk is full to the last byte.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, io.LimitReader(zeros{}, disk)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// writeUntilRefused asks for what is written without asking for room: a wish.
func writeUntilRefused(t *testing.T, e *embedded.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 1000 {
		state := engine.State{ID: fmt.Sprint("w", i), Status: "REVOKED", Record: make([]byte, 100_000)}
		if e.Revoke(ctx, []engine.State{state})[0] != nil {
			if ctx.Err() != nil {
				t.Fatal("a write to a full disk was never answered")
			}
			return
		}
	}
	t.Fatal("a full disk takes a hundred megabytes")
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 300 {
		if ok() {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Fatalf("waited 30 s for %s", what)
}
