package edge_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/interop"
)

// line is what a client met, see clients/follow.js.
type line struct {
	Open bool   `json:"open,omitempty"`
	Lost string `json:"lost,omitempty"`
	Over string `json:"over,omitempty"`

	ID    string          `json:"id,omitempty"`
	Event string          `json:"event,omitempty"`
	Gap   bool            `json:"gap,omitempty"` // over WebSocket
	Data  json.RawMessage `json:"data,omitempty"`

	Code   int    `json:"code,omitempty"` // of a WebSocket that was closed
	Reason string `json:"reason,omitempty"`
}

// number is what a test has sent: alone in a task's stream, in a group's event
// as its n.
func (l line) number() (n int, ok bool) {
	if json.Unmarshal(l.Data, &n) == nil && l.Event == "" && l.Data != nil {
		return n, true
	}
	var event struct{ N int }
	ok = json.Unmarshal(l.Data, &event) == nil && event.N > 0
	return event.N, ok
}

// client is somebody else's program or library that follows an address.
type client struct {
	t    *testing.T
	name string
	send func(text string) // over WebSocket

	mu    sync.Mutex
	lines []line
	more  chan struct{} // closed at the next line
}

func newClient(t *testing.T, name string) *client {
	return &client{t: t, name: name, more: make(chan struct{})}
}

func (c *client) met(l line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, l)
	close(c.more)
	c.more = make(chan struct{})
}

func (c *client) seen() (lines []line, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines), c.more
}

// await waits until the client has met at least n of such lines, and returns
// the last.
func (c *client) await(n int, what string, is func(line) bool) line {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		lines, more := c.seen()
		var all []line
		for _, l := range lines {
			if is(l) {
				all = append(all, l)
			}
		}
		if len(all) >= n {
			return all[len(all)-1]
		}
		select {
		case <-more:
		case <-deadline:
			c.t.Fatalf("%s met %q %d times, want %d; it met\n%s", c.name, what, len(all), n, told(lines))
		}
	}
}

func told(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		raw, err := json.Marshal(l)
		if err != nil {
			raw = []byte(err.Error())
		}
		fmt.Fprintf(&b, "%s\n", raw)
	}
	return b.String()
}

func isOpen(l line) bool { return l.Open }
func isLost(l line) bool { return l.Lost != "" }
func isOver(l line) bool { return l.Over != "" }
func isEnd(l line) bool  { return l.Event == "end" }
func isGap(l line) bool  { return l.Event == "gap" || l.Gap }

// hears waits for a number.
func (c *client) hears(n int) {
	c.t.Helper()
	c.await(1, fmt.Sprint("number ", n), func(l line) bool {
		got, ok := l.number()
		return ok && got == n
	})
}

// harmless are ids that a browser sends to another site without asking first.
var harmless = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)

// heard checks that the client heard 1 to n, each once and in order, and that
// each had a harmless id of its own.
func (c *client) heard(n int) {
	c.t.Helper()
	lines, _ := c.seen()
	var got, want []int
	ids := map[string]bool{}
	for _, l := range lines {
		k, ok := l.number()
		if !ok {
			continue
		}
		if got = append(got, k); !harmless.MatchString(l.ID) || ids[l.ID] {
			c.t.Errorf("%s heard %d with the id %q, want a harmless one of its own", c.name, k, l.ID)
		}
		ids[l.ID] = true
	}
	for k := range n {
		want = append(want, k+1)
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("%s heard %v, want 1 to %d; it met\n%s", c.name, got, n, told(lines))
	}
}

// npmInstall installs the libraries, once, as the lock file has them.
var npmInstall = sync.OnceValue(func() error {
	lock, err := os.ReadFile("clients/package-lock.json")
	if err != nil {
		return err
	}
	const done = "clients/node_modules/.installed"
	if was, err := os.ReadFile(done); err == nil && bytes.Equal(was, lock) {
		return nil
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = "clients"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return os.WriteFile(done, lock, 0o600)
})

// libraries are those from npm.
func libraries(t *testing.T) {
	t.Helper()
	interop.Find(t, "npm")
	if err := npmInstall(); err != nil { // as without a network
		interop.Lack(t, err.Error())
	}
}

// node follows an address with the npm package eventsource or ws until the test
// ends.
func node(t *testing.T, pkg, url string) *client {
	t.Helper()
	libraries(t)
	c := newClient(t, "npm "+pkg)
	cmd := exec.Command(interop.Find(t, "node", "nodejs"), filepath.Join("clients", "follow.mjs"), pkg, url)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(err, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c.send = func(text string) {
		if _, err := io.WriteString(in, text+"\n"); err != nil {
			t.Error(err)
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var l line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Errorf("%s says %q: %v", c.name, lines.Bytes(), err)
			}
			c.met(l)
		}
	})
	t.Cleanup(func() {
		err := in.Close()
		reading.Wait()
		if err := errors.Join(err, cmd.Wait()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	})
	return c
}
