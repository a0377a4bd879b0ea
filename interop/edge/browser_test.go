package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rhubarb-go/rhubarb/interop"
)

// chromium is the one browser of all tests. Each has a profile of its own in it.
var chromium struct {
	sync.Mutex

	ctx   context.Context // nil while there is none
	close func() error
}

// openBrowser starts it for the first test.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	file := interop.Find(t, "chromium", "chromium-browser", "google-chrome")
	libraries(t)
	c := &chromium
	c.Lock()
	defer c.Unlock()
	if c.ctx != nil {
		return c.ctx
	}
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), // closeBrowser ends it
		chromedp.ExecPath(file), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(patience))
	ctx, end := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		end()
		endAlloc()
		t.Fatal(err)
	}
	c.ctx = ctx
	c.close = func() error {
		err := chromedp.Cancel(ctx)
		end()
		endAlloc()
		return err
	}
	return ctx
}

func closeBrowser() error {
	c := &chromium
	c.Lock()
	defer c.Unlock()
	if c.ctx == nil {
		return nil
	}
	return c.close()
}

// page is an empty page of a site, with the libraries.
type page struct {
	context.Context
	t *testing.T

	mu      sync.Mutex
	clients map[string]*client
}

// browse opens a page of the site, until the test ends.
func browse(t *testing.T, url string) *page {
	t.Helper()
	ctx, end := chromedp.NewContext(openBrowser(t), chromedp.WithNewBrowserContext())
	p := &page{Context: ctx, t: t, clients: map[string]*client{}}
	messages := chromedp.Console(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			p.hear(m)
		}
	})
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close the page: %v", err)
		}
		end()
		reading.Wait()
	})
	p.do(chromedp.Navigate(url + "/healthz"))
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(async () => {
		window.follow = await import("%[1]s/follow.js")
		window.fetchEventSource = (await import("%[1]s/node_modules/@microsoft/fetch-event-source/lib/esm/index.js")).fetchEventSource
		window.clients = {}
	})()`, scripts(t)), chromedp.EvalAwaitPromise))
	return p
}

// scripts serves the folder clients to pages of any site, and returns its
// address.
func scripts(t *testing.T) string {
	files := http.FileServer(http.Dir("clients"))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if path.Ext(r.URL.Path) == "" { // fetch-event-source imports its parts as bundlers take them
			r.URL.Path += ".js"
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// The clients of a page, by the function in clients/follow.js.
const (
	eventSource = "eventSource(EventSource"
	fetched     = "fetched(fetchEventSource"
	socket      = "socket(WebSocket"
)

// follow has the page follow an address.
func (p *page) follow(with, url string) *client {
	p.t.Helper()
	p.mu.Lock()
	c := newClient(p.t, fmt.Sprintf("Chromium's %d, %s", len(p.clients)+1, with[strings.Index(with, "(")+1:]))
	p.clients[c.name] = c
	p.mu.Unlock()
	name := quote(c.name)
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`clients[%s] = follow.%s, %s, what => console.log(JSON.stringify({ client: %[1]s, ...what }))); undefined`,
		name, with, quote(url))))
	c.send = func(text string) {
		p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("clients[%s].send(%s)", name, quote(text))))
	}
	return c
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string is always JSON
	}
	return string(raw)
}

// hear gives a client's words to it. What the browser itself says is of lost
// connections.
func (p *page) hear(m chromedp.ConsoleMessage) {
	var said struct {
		Client string
		line
	}
	if m.IsException() {
		p.t.Errorf("the page says: %s", m)
		return
	}
	if json.Unmarshal([]byte(m.Text), &said) != nil {
		return
	}
	p.mu.Lock()
	c := p.clients[said.Client]
	p.mu.Unlock()
	if c != nil {
		c.met(said.line)
	}
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// publish has the page send an event to a group.
func (p *page) publish(url, event string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`fetch(%s, { method: "POST", headers: { "Content-Type": "application/json" }, body: %s })
		.then(answer => { if (answer.status !== 202) throw new Error(answer.status) })`, quote(url), quote(event)), chromedp.EvalAwaitPromise))
}
