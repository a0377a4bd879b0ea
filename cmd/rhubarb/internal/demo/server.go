package demo

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/ws"
)

//go:embed page/index.html page/page.css page/page.js
var files embed.FS

// policy lets the page load and call this server alone.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// server is the HTTP side of the demo.
type server struct {
	app     *rhubarb.App
	workers *supervisor
	board   *board
	gateway *gateway.Gateway
	local   bool // answers to the names of this machine alone
	log     *slog.Logger
	handler http.Handler
	streams sse.Server
	edge    *ws.Server
}

func newServer(app *rhubarb.App, hub *channels.Hub, workers *supervisor, log *slog.Logger, local bool) (*server, error) {
	edge, err := ws.New(&ws.Options{Subprotocols: []string{envelopes}, Logger: log})
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(app, &gateway.Options{Tasks: tasks, Logger: log})
	if err != nil {
		return nil, err
	}
	s := &server{app: app, workers: workers, gateway: g, local: local, log: log, edge: edge}
	s.board = newBoard(s.numbers, log)
	mux := http.NewServeMux()
	mux.Handle("/tasks/", g)
	mux.Handle("GET /openapi.json", g)
	mux.Handle("GET /rhubarb.js", g)
	mux.Handle("GET /metrics", g)
	mux.Handle("GET /ws/chat/{room}/", edge.Handler(hub, func() channels.Consumer { return new(chat) }))
	mux.HandleFunc("GET /sse/", s.clock)
	mux.HandleFunc("GET /numbers", s.watch)
	mux.HandleFunc("POST /bulk", s.bulk)
	mux.HandleFunc("POST /kill", s.kill)
	mux.HandleFunc("GET /{$}", page("index.html", "text/html"))
	mux.HandleFunc("GET /page.css", page("page.css", "text/css"))
	mux.HandleFunc("GET /page.js", page("page.js", "text/javascript"))
	s.handler = http.NewCrossOriginProtection().Handler(mux)
	return s, nil
}

// ServeHTTP answers a request. On this machine alone it does so under the
// machine's own names, since a page of another site can point a name of its
// own at 127.0.0.1.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.local && !ownName(r.Host) {
		http.Error(w, "the demo is asked as localhost alone", http.StatusMisdirectedRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	s.handler.ServeHTTP(w, r)
}

func ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Drain ends streams and connections, so that the server can shut down.
func (s *server) Drain(ctx context.Context) {
	s.edge.Drain(ctx, 0)
	s.streams.Close(ctx, 0)
	s.gateway.Drain(ctx, 0)
}

func page(name, contentType string) http.HandlerFunc {
	raw, err := files.ReadFile("page/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType+"; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		if _, err := w.Write(raw); err != nil {
			return // the browser left
		}
	}
}

// clock says the time at every full second.
func (s *server) clock(w http.ResponseWriter, r *http.Request) {
	c, err := sse.Upgrade(w, r, &sse.Options{Server: &s.streams})
	if err != nil {
		return
	}
	defer c.Close()
	for c.Send(sse.Event{Data: time.Now().Format(time.TimeOnly)}) == nil {
		select {
		case <-time.After(time.Second - time.Duration(time.Now().Nanosecond())):
		case <-c.Context().Done():
		}
	}
}

// watch sends the numbers when they change.
func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	c, err := sse.Upgrade(w, r, &sse.Options{Server: &s.streams})
	if err != nil {
		return
	}
	defer c.Close()
	news, leave := s.board.Watch()
	defer leave()
	for last := ""; ; {
		select {
		case now := <-news:
			if now == last {
				continue
			}
			if c.Send(sse.Event{Data: now}) != nil {
				return
			}
			last = now
		case <-c.Context().Done():
			return
		}
	}
}

func (s *server) numbers(ctx context.Context) (numbers, error) {
	queues, err := s.app.Engines().Broker.Queues(ctx)
	if err != nil {
		return numbers{}, err
	}
	n := sum(queues)
	n.Demo, n.Workers = os.Getpid(), s.workers.Children()
	return n, nil
}

// bulk sends a thousand tasks in one batch: most at once, some for later.
func (s *server) bulk(w http.ResponseWriter, r *http.Request) {
	const now, later = 800, 200
	calls := make([]*rhubarb.Call, now+later)
	for i := range calls {
		var opts []rhubarb.CallOption
		if i >= now {
			opts = append(opts, rhubarb.Countdown(6*time.Second))
		}
		call, err := resizePhoto.Call(rhubarb.None{}, opts...)
		if err != nil {
			s.fail(w, err)
			return
		}
		calls[i] = call
	}
	began := time.Now()
	var errs []error
	for _, sent := range s.app.Send(r.Context(), calls...) {
		errs = append(errs, sent.Err)
	}
	if err := errors.Join(errs...); err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, map[string]any{"sent": len(calls), "ms": time.Since(began).Milliseconds()})
}

// kill ends the worker ?pid= with SIGKILL.
func (s *server) kill(w http.ResponseWriter, r *http.Request) {
	var pid int
	if p := r.FormValue("pid"); p != "" {
		if _, err := fmt.Sscan(p, &pid); err != nil {
			http.Error(w, "pid is not a number", http.StatusBadRequest)
			return
		}
	}
	killed, err := s.workers.Kill(pid)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	s.log.Info("killed a worker, as asked", "name", killed.Name, "pid", killed.PID)
	s.answer(w, killed)
}

func (s *server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answer", "err", err)
	}
}

func (s *server) fail(w http.ResponseWriter, err error) {
	s.log.Error("send a thousand tasks", "err", err)
	http.Error(w, "the engine did not answer, try again", http.StatusServiceUnavailable)
}
