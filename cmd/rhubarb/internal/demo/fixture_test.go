package demo_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// demo is the real program in a process of its own.
type demo struct {
	*exec.Cmd
	url string
	dir string

	silent chan struct{} // closed when the demo and its workers are gone
}

var opened = regexp.MustCompile(`url=(http://\S+)`)

// open starts the program on a data directory and waits until it serves.
func open(t *testing.T, dir, addr string) *demo {
	t.Helper()
	d := &demo{Cmd: exec.Command(binary, "demo", "--addr", addr, "--data", dir), dir: dir, silent: make(chan struct{})}
	r, w, err := os.Pipe() // as a file, so that Wait does not wait for the workers' ends
	if err != nil {
		t.Fatal(err)
	}
	d.Stderr = w
	if err := errors.Join(d.Start(), w.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.stop(t) })
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if m := opened.FindStringSubmatch(lines.Text()); m != nil {
			d.url = m[1]
			break
		}
	}
	if d.url == "" {
		t.Fatalf("the demo did not open: %v", d.Wait())
	}
	go func() {
		defer close(d.silent)
		defer r.Close()
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-d.silent })
	t.Cleanup(func() { d.stop(t) })
	return d
}

func fresh(t *testing.T) *demo {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "data"), "localhost:0")
}

// stop asks the program to stop, unless it has ended.
func (d *demo) stop(t *testing.T) {
	if d.ProcessState != nil {
		return
	}
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("stop the demo: %v", err)
	}
}

// kill ends the program as a crash does.
func (d *demo) kill(t *testing.T) {
	t.Helper()
	if err := d.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*exec.ExitError](d.Wait()); !ok {
		t.Fatal("the demo was not killed")
	}
}

// tab is a page in a browser of its own.
type tab struct {
	context.Context
	t *testing.T

	mu     sync.Mutex
	errors []string // red lines in the console
}

// patience is how long anything may take, on a machine that is busy.
const patience = time.Minute

// program finds one of the programs, or ends the test.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("RHUBARB_REQUIRE_SERVERS") == "1" {
		t.Fatalf("none of %v is installed", names)
	}
	t.Skipf("none of %v is installed", names)
	return ""
}

func browse(t *testing.T, url string, width, height int) *tab {
	t.Helper()
	chromium := program(t, "chromium", "chromium-browser", "google-chrome")
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), // the clean-up below ends it
		chromedp.ExecPath(chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")), chromedp.WindowSize(width, height),
		chromedp.WSURLReadTimeout(patience))
	ctx, end := chromedp.NewContext(alloc)
	b := &tab{Context: ctx, t: t}
	messages := chromedp.Console(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.hear(m)
		}
	})
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close the browser: %v", err)
		}
		end()
		endAlloc()
		reading.Wait()
	})
	b.do(chromedp.EmulateViewport(int64(width), int64(height)), chromedp.Navigate(url))
	return b
}

func (b *tab) hear(m chromedp.ConsoleMessage) {
	if !m.IsException() && m.Type != "error" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, m.String()+" "+m.URL)
}

// clean fails the test if there was an error, other than the expected ones.
func (b *tab) clean(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		if !slices.ContainsFunc(expected, func(part string) bool { return strings.Contains(e, part) }) {
			b.t.Errorf("the browser's console says: %s", e)
		}
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is in the page.
func eval[T any](b *tab, expr string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr))
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// until waits for an expression to be true in the page.
func (b *tab) until(expr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expr,
		chromedp.WithPollingTimeout(0), chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		b.t.Fatalf("never true: %s: %v\n%s", expr, err, eval[string](b, "document.body.innerText"))
	}
}

func (b *tab) text(id string) string {
	b.t.Helper()
	return eval[string](b, element(id)+".textContent")
}

func (b *tab) click(id string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.ID(id)))
}

func element(id string) string { return "document.getElementById('" + id + "')" }

// says is true when the element's text has the part.
func says(id, part string) string {
	return element(id) + ".textContent.includes(" + strconv.Quote(part) + ")"
}
