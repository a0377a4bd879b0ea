package browser_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

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
	missing(t, names)
	return ""
}

// missing skips a test for want of something, unless everything must be there.
func missing(t *testing.T, what any) {
	t.Helper()
	if os.Getenv("RHUBARB_REQUIRE_SERVERS") == "1" {
		t.Fatalf("there is no %v: run scripts/setup", what)
	}
	t.Skipf("there is no %v: run scripts/setup", what)
}

// shared is one Chromium for all tests. Each has a profile of its own in it.
type shared struct {
	once sync.Once
	ctx  context.Context
	err  error
	ends []func()
}

var chromium shared

func (s *shared) start(path, profile string) {
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), // end ends it
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		// Tabs behind others are as quick as the one in front.
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.UserDataDir(profile), chromedp.WSURLReadTimeout(patience))
	ctx, end := chromedp.NewContext(alloc)
	s.ctx, s.err = ctx, chromedp.Do(ctx)
	s.ends = []func(){func() { _ = chromedp.Cancel(ctx) }, end, endAlloc, func() { _ = os.RemoveAll(profile) }}
}

func (s *shared) end() {
	for _, f := range s.ends {
		f()
	}
}

// window is a profile, whose tabs share what the tabs of one person share.
type window struct {
	t   *testing.T
	ctx context.Context
}

func open(t *testing.T) *window {
	t.Helper()
	path := program(t, "chromium", "chromium-browser", "google-chrome")
	chromium.once.Do(func() {
		profile, err := os.MkdirTemp("", "rhubarb-chromium")
		if chromium.err = err; err == nil {
			chromium.start(path, profile)
		}
	})
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	ctx, end := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &window{t, ctx}
}

// tab is one of a window's tabs.
type tab struct {
	context.Context
	t   *testing.T
	end func()
}

// visit opens a tab at a page of the site, in which rhubarb.js is the variable
// rhubarb.
func (w *window) visit(url string) *tab {
	w.t.Helper()
	ctx, end := chromedp.NewContext(w.ctx)
	b := &tab{ctx, w.t, sync.OnceFunc(end)}
	w.t.Cleanup(b.end)
	if err := chromedp.Do(ctx); err != nil { // not under the limit of do, which would end the tab
		w.t.Fatal(err)
	}
	b.do(chromedp.Navigate(url))
	b.until("window.rhubarb")
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// run runs statements in the page.
func (b *tab) run(code string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void]("(() => {" + code + "})()"))
}

// eval returns what an expression, or the promise it is, is in the page.
func eval[T any](b *tab, expr string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
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
		chromedp.WithPollingTimeout(0), chromedp.WithPollingInterval(10*time.Millisecond)))
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		b.t.Fatalf("never true: %s\ngot %s, status %s, errors %s", expr,
			eval[string](b, "JSON.stringify(window.got)"), eval[string](b, "window.feed?.status + ''"), eval[string](b, "JSON.stringify(window.troubles)"))
	}
	if err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
}

// heard waits until the feed has had exactly these events.
func (b *tab) heard(list string) {
	b.t.Helper()
	b.until("got.join(' ').length >= " + strconv.Itoa(len(list)))
	if got := eval[string](b, "got.join(' ')"); got != list {
		b.t.Fatalf("heard %q, want %q", got, list)
	}
}

// follow has the page follow something: expr makes the feed.
func (b *tab) follow(expr string) {
	b.t.Helper()
	b.run(`window.feed?.close(); window.got = []; window.troubles = []; window.statuses = [];
		window.feed = ` + expr + `;
		feed.on("*", e => got.push(e.data?.message ?? e.type));
		feed.onerror = e => troubles.push(e);
		feed.onstatus = s => statuses.push(s);`)
}

func (b *tab) status(want string) {
	b.t.Helper()
	b.until("feed.status === '" + want + "'")
}
