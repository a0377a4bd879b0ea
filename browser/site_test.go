package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/worker"
)

var silent = slog.New(slog.DiscardHandler)

// blank is where rhubarb.js is tried. Whether it is seen is for the test to say:
// of several tabs a browser shows one.
const blank = `<!doctype html><script>
Object.defineProperty(document, "hidden", {get: () => !!window.unseen})
function see(seen) { window.unseen = !seen; document.dispatchEvent(new Event("visibilitychange")) }
</script><script type="module">
import * as rhubarb from "/rhubarb.js"
window.rhubarb = rhubarb
</script>`

// site is a gateway on an engine in memory, behind a server that notes what it
// is asked and can cut its connections.
type site struct {
	t   *testing.T
	url string
	app *rhubarb.App
	mux *http.ServeMux

	token string      // the operator's, if there is one
	away  atomic.Bool // event streams and WebSockets are answered with 503

	mu    sync.Mutex
	asked []string // paths and queries
	conns []net.Conn
}

// serve opens a site whose groups, all that begin with "chat.", keep an hour.
func serve(t *testing.T, more ...func(*gateway.Options)) *site {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := gateway.Options{
		Hub: hubOn(t, e), Logger: silent,
		Groups: func(name string) bool { return strings.HasPrefix(name, "chat.") },
		Keep:   func(name string) time.Duration { return map[bool]time.Duration{true: time.Hour}[name != "chat.brief"] },
	}
	for _, m := range more {
		m(&opts)
	}
	g, err := gateway.New(app, &opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, app: app, mux: http.NewServeMux()}
	s.mux.Handle("/", g)
	s.mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, blank)
	})
	srv := httptest.NewUnstartedServer(s)
	srv.Listener = &noting{srv.Listener, s}
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(func() { g.Drain(context.Background(), 0) })
	s.url = srv.URL
	return s
}

// serveOther opens another site.
func serveOther(t *testing.T, h http.Handler) (origin string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func hubOn(t *testing.T, e engine.Layer) *channels.Hub {
	t.Helper()
	hub, err := channels.Open(t.Context(), e, &channels.Options{Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := hub.Run(ctx); err != nil {
			t.Errorf("hub: %v", err)
		}
	})
	t.Cleanup(run.Wait)
	t.Cleanup(stop)
	return hub
}

// noting notes a site's connections.
type noting struct {
	net.Listener
	s *site
}

func (l *noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.s.mu.Lock()
		defer l.s.mu.Unlock()
		l.s.conns = append(l.s.conns, c)
	}
	return c, err
}

var live = regexp.MustCompile(`/(events|ws)$`)

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.RequestURI())
	s.mu.Unlock()
	if s.away.Load() && live.MatchString(r.URL.Path) {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// requests are those of a path, with their queries.
func (s *site) requests(path string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uri := range s.asked {
		if got, query, _ := strings.Cut(uri, "?"); got == path {
			all = append(all, query)
		}
	}
	return all
}

// cut breaks every connection, as a network does.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close() // some have been before
	}
	s.conns = nil
}

var gauges = regexp.MustCompile(`(?m)^rhubarb_(?:sse|ws)_connections (\d+)$`)

// open is how many event streams and WebSockets there are now.
func (s *site) open() (n int) {
	s.t.Helper()
	status, raw := s.do(http.MethodGet, "/metrics", nil)
	if status != http.StatusOK {
		s.t.Fatalf("metrics: %d %s", status, raw)
	}
	for _, m := range gauges.FindAllSubmatch(raw, -1) {
		var some int
		if _, err := fmt.Sscan(string(m[1]), &some); err != nil {
			s.t.Fatal(err)
		}
		n += some
	}
	return n
}

// settles waits until there are so many connections.
func (s *site) settles(want int) {
	s.t.Helper()
	s.until(func() string {
		if got := s.open(); got != want {
			return fmt.Sprintf("%d connections are open, want %d", got, want)
		}
		return ""
	})
}

// until waits until nothing is wrong.
func (s *site) until(wrong func() string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for why := wrong(); why != ""; why = wrong() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatal(why)
		}
	}
}

// say sends messages to chat.garden, one by one.
func (s *site) say(texts ...string) {
	s.t.Helper()
	s.sayIn("chat.garden", texts...)
}

func (s *site) sayIn(group string, texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		body, err := json.Marshal(map[string]string{"type": "chat.message", "message": text})
		if err != nil {
			s.t.Fatal(err)
		}
		if status, raw := s.do(http.MethodPost, "/groups/"+group, body); status != http.StatusAccepted {
			s.t.Fatalf("say %s: %d %s", text, status, raw)
		}
	}
}

// do asks the site something, on a connection of its own: others may be cut.
func (s *site) do(method, path string, body []byte) (status int, answer []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err = io.ReadAll(res.Body); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, answer
}

// count makes a task that emits what comes on words, and ends when that closes.
func (s *site) count(words <-chan string) (id string) {
	s.t.Helper()
	task := rhubarb.Define("count", func(ctx context.Context, _ rhubarb.None) (int, error) {
		n := 0
		for w := range words {
			if err := rhubarb.Emit(ctx, map[string]string{"message": w}); err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	})
	w, err := worker.New(s.app, []rhubarb.Runnable{task}, &worker.Options{Grace: time.Millisecond, Logger: silent})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := w.Run(ctx); err != nil {
			s.t.Errorf("worker: %v", err)
		}
	})
	s.t.Cleanup(work.Wait)
	s.t.Cleanup(stop)
	res, err := task.Delay(s.t.Context(), s.app, rhubarb.None{})
	if err != nil {
		s.t.Fatal(err)
	}
	return res.ID()
}

// transports are the two ways to follow a group.
var transports = []struct{ name, path, feed string }{
	{"event stream", "/groups/chat.garden/events", `rhubarb.follow("/groups/chat.garden/events", {share: false})`},
	{"WebSocket", "/groups/chat.garden/ws", `rhubarb.connect("/groups/chat.garden/ws", {share: false})`},
}

func numbers(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprint(n))
	}
	return slices.Clip(list)
}
