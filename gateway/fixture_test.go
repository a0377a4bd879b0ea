package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/worker"
)

type sum struct {
	A int    `json:"a"`
	B int    `json:"b,omitempty"`
	C string `json:"c,omitempty"`
}

var (
	add   = rhubarb.Define("math.add", func(_ context.Context, s sum) (int, error) { return s.A + s.B, nil })
	greet = rhubarb.Define("greet", func(_ context.Context, name string) (string, error) { return "hello " + name, nil })
	none  = rhubarb.Define("none", func(context.Context, rhubarb.None) (rhubarb.None, error) { return rhubarb.None{}, nil })
	fail  = rhubarb.Define("fail", func(context.Context, rhubarb.None) (string, error) { return "", errors.New("no luck") })
	queue = rhubarb.Define("elsewhere", func(context.Context, rhubarb.None) (string, error) { return "", nil }, rhubarb.OnQueue("other"))
	talk  = rhubarb.Define("talk", func(ctx context.Context, words []string) (int, error) {
		for i, w := range words {
			if err := rhubarb.Emit(ctx, w); err != nil {
				return i, err
			}
			if err := rhubarb.Progress(ctx, i+1, len(words)); err != nil {
				return i, err
			}
		}
		return len(words), nil
	})
	block = rhubarb.Define("block", func(ctx context.Context, _ rhubarb.None) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	all = []rhubarb.Runnable{add, greet, none, fail, queue, talk, block}
)

// site is a gateway behind a real HTTP server.
type site struct {
	t   *testing.T
	app *rhubarb.App
	g   *gateway.Gateway
	url string
}

var silent = slog.New(slog.DiscardHandler)

// open serves a gateway for the tasks in opts, without a worker.
func open(t *testing.T, opts gateway.Options) *site {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	return openOn(t, engine.All(e), opts)
}

func openOn(t *testing.T, engines engine.Set, opts gateway.Options) *site {
	t.Helper()
	app, err := rhubarb.New(engines, nil)
	if err != nil {
		t.Fatal(err)
	}
	opts.Logger = silent
	g, err := gateway.New(app, &opts)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { g.Drain(context.Background(), 0) })
	return &site{t, app, g, srv.URL}
}

// work runs a worker until the test ends.
func (s *site) work() *worker.Worker {
	s.t.Helper()
	w, err := worker.New(s.app, all, &worker.Options{
		Grace: time.Millisecond, Logger: silent,
		Run: []func(rhubarb.Handler) rhubarb.Handler{s.g.Metrics().Run},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Errorf("worker: %v", err)
		}
	})
	return w
}

// answer is what came back, with its body read.
type answer struct {
	*http.Response
	body string
}

func (s *site) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res, string(raw)}
}

// call sends a task and returns its id.
func (s *site) call(name, body string, header ...string) string {
	s.t.Helper()
	res := s.do("POST", "/tasks/"+name, body, header...)
	var got struct{ ID string }
	if err := json.Unmarshal([]byte(res.body), &got); err != nil || res.StatusCode != http.StatusAccepted || got.ID == "" {
		s.t.Fatalf("POST /tasks/%s %s: got %d %s, want 202 with an id", name, body, res.StatusCode, res.body)
	}
	if want := "/tasks/" + got.ID; res.Header.Get("Location") != want {
		s.t.Errorf("Location: got %q, want %q", res.Header.Get("Location"), want)
	}
	return got.ID
}

// state waits for the end of a task.
func (s *site) state(id string) gateway.State {
	s.t.Helper()
	res := s.do("GET", "/tasks/"+id+"?wait=20s", "")
	var got gateway.State
	if err := json.Unmarshal([]byte(res.body), &got); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("GET /tasks/%s: got %d %s", id, res.StatusCode, res.body)
	}
	return got
}
