package demo_test

import (
	"errors"
	"html"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestPortInUseIsSaidBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := filepath.Join(t.TempDir(), "data")
	out, err := exec.Command(binary, "demo", "--addr", ln.Addr().String(), "--data", dir).CombinedOutput()
	want := "rhubarb: the address " + ln.Addr().String() + " is in use: stop the program that listens there or choose another with --addr\n"
	if err == nil || string(out) != want {
		t.Errorf("got %v and %q, want an error and %q", err, out, want)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the data directory, want none", err)
	}
}

func TestMemoryIsRefused(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "demo", "--addr", "localhost:0", "--url", "mem:").CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 2 || !strings.Contains(string(out), "cannot share mem:") {
		t.Errorf("got %v and %q, want exit code 2 and a reason", err, out)
	}
}

func TestWorkersDieWithTheDemo(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.working(t)
	d.kill(t)
	select {
	case <-d.silent:
	case <-time.After(patience):
		t.Error("a worker lives on")
	}
}

func TestSignalStopsDemoAndWorkers(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.working(t)
	d.stop(t) // and its exit code is 0
	<-d.silent
}

// working waits until both workers run.
func (d *demo) working(t *testing.T) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	two := regexp.MustCompile(`"pid":[1-9].*"pid":[1-9]`)
	for r := sse.NewReader(res.Body, nil); ; {
		e, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if two.MatchString(e.Data) {
			return
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	for _, test := range []struct {
		name, method, path, host, origin string
		want                             int
	}{
		{"a page of another site kills", "POST", "/kill", "", "https://elsewhere.example", http.StatusForbidden},
		{"a page of another site calls a task", "POST", "/tasks/demo.write_story", "", "https://elsewhere.example", http.StatusForbidden},
		{"another name for this machine", "GET", "/", "elsewhere.example", "", http.StatusMisdirectedRequest},
		{"a task that is none of the demo's", "POST", "/tasks/rm", "", "", http.StatusNotFound},
		{"a process that is no worker", "POST", "/kill?pid=1", "", "", http.StatusConflict},
		{"a pid that is no number", "POST", "/kill?pid=init", "", "", http.StatusBadRequest},
		{"the page by its number", "GET", "/", "127.0.0.1", "", http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), test.method, d.url+test.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = test.host
			req.Header.Set("Content-Type", "application/json")
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			req.Close = true
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != test.want {
				t.Errorf("got %s, want %d", res.Status, test.want)
			}
		})
	}
}

var (
	snippet = regexp.MustCompile(`(?s)<summary>The Go.*?<code>(.*?)</code>`)
	space   = regexp.MustCompile(`\s+`)
)

// What the page shows as the Go behind it is in these files, line by line.
func TestPageShowsTheRealSource(t *testing.T) {
	var source string
	for _, name := range []string{"tasks.go", "server.go", "chat.go"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source += string(raw)
	}
	source = space.ReplaceAllString(source, " ")
	page, err := os.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	shown := snippet.FindAllSubmatch(page, -1)
	if len(shown) != 6 {
		t.Errorf("got %d pieces of source, want 6", len(shown))
	}
	for _, s := range shown {
		for line := range strings.Lines(html.UnescapeString(string(s[1]))) {
			if line = strings.TrimSpace(space.ReplaceAllString(line, " ")); !strings.Contains(source, line) {
				t.Errorf("the page shows %q, which is nowhere", line)
			}
		}
	}
}
