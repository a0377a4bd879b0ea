package embedded_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

func TestDirectoriesThatCannotBeUsedSaySo(t *testing.T) {
	cases := []struct {
		name, want string
		spoil      func(t *testing.T, dir string) string // returns the directory to open
	}{
		{"a file", "is a file, not a directory", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "f")
			write(t, path, "x")
			return path
		}},
		{"not writable", "make data directory", func(*testing.T, string) string { return "/proc/rhubarb-data" }},
		{"another version", `format "999"`, func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "VERSION"), "999\n")
			return dir
		}},
		{"damaged", "is damaged: RB_TASKS cannot be opened", func(t *testing.T, dir string) string {
			e, err := embedded.Open(t.Context(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "jetstream", "jetstream", "$G", "streams", "RB_TASKS", "meta.inf"), "garbage")
			return dir
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := c.spoil(t, t.TempDir())
			e, err := embedded.Open(t.Context(), dir, &embedded.Options{Logger: slog.New(slog.DiscardHandler)})
			if err == nil {
				e.Close()
				t.Fatalf("%s was opened", dir)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPortInUseSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = embedded.Open(t.Context(), t.TempDir(), &embedded.Options{Port: port})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is in use", port)) {
		t.Errorf("got %v; want it to name the port", err)
	}
}

func TestTheSecretIsTheOwners(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, nil)
	st, err := os.Stat(filepath.Join(dir, "engine.json"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("engine.json has mode %v, %v; want 0600", st.Mode(), err)
	}
}

// A child of these tests holds a directory's engine until it is killed.
const envHold = "RHUBARB_TEST_HOLD"

func holdUntilKilled(dir string) {
	e, err := embedded.Open(context.Background(), dir, nil)
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	defer e.Close()
	fmt.Println("holding")
	select {}
}

func startHolder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envHold+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	if n, err := out.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "holding") {
		t.Fatalf("the holder says %q, %v", buf[:n], err)
	}
	return cmd
}

// TestKill9OfTheHolder kills the process that holds the engine in the middle
// of enqueues. What was acknowledged must be there, under this process, which
// had joined and takes over.
func TestKill9OfTheHolder(t *testing.T) {
	dir := t.TempDir()
	holder := startHolder(t, dir)
	e := open(t, dir, &embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if e.Holds() {
		t.Fatal("this process holds the directory beside the holder")
	}
	accepted := map[string]bool{}
	var refused int
	for i := 0; i < 2000 || !e.Holds(); i++ {
		if i == 1000 {
			if err := holder.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			holder.Wait() //nolint:errcheck // it was killed
		}
		id := fmt.Sprint("t", i)
		p := engine.Publication{Message: engine.Message{ID: id, Task: "x", Body: []byte("[[],{},{}]")}, Queue: "q"}
		if err := e.Publish(t.Context(), []engine.Publication{p})[0].Err; err != nil {
			refused++ // an error is an answer; silence is not
			continue
		}
		accepted[id] = true
	}
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for len(accepted) > 0 {
		ds, err := r.Take(ctx, 200)
		if err != nil {
			t.Fatalf("%d acknowledged enqueues are missing: %v", len(accepted), err)
		}
		for _, d := range ds {
			if seen[d.ID] {
				t.Errorf("%s was handed out twice", d.ID)
			}
			seen[d.ID] = true
			delete(accepted, d.ID)
		}
	}
	t.Logf("%d taken, %d refused while the engine was away", len(seen), refused)
}
