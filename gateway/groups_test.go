package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/worker"
)

// openGroups serves groups whose names begin with "chat.".
func openGroups(t *testing.T, more ...func(*gateway.Options)) (*site, *channels.Hub) {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
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
	opts := gateway.Options{Hub: hub, Groups: func(name string) bool { return strings.HasPrefix(name, "chat.") }}
	for _, m := range more {
		m(&opts)
	}
	return openOn(t, engine.All(e), opts), hub
}

// follow opens an event stream.
func (s *site) follow(path string) *sse.Reader {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream") // as an EventSource does
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: got %d", path, res.StatusCode)
	}
	return sse.NewReader(res.Body, nil)
}

func TestAGroupIsHeardInTheBrowser(t *testing.T) {
	s, hub := openGroups(t)
	one, two := s.follow("/groups/chat.garden/events"), s.follow("/groups/chat.garden/events")
	res := s.do("POST", "/groups/chat.garden", `{"type": "chat.message", "message": "hello", "n": 12}`)
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("publish: got %d %s", res.StatusCode, res.body)
	}
	for _, r := range []*sse.Reader{one, two} {
		e, err := r.Next()
		if want := `{"message":"hello","n":12,"type":"chat.message"}`; err != nil || e.Data != want || e.Type != "" {
			t.Errorf("got %+v, %v, want %s", e, err, want)
		}
	}
	ch, err := hub.Open(func(channels.Event) {})
	if err == nil {
		err = ch.Present(t.Context(), "chat.garden", channels.Member{ID: "ann", Info: json.RawMessage(`{"a":1}`)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if e, err := one.Next(); err != nil || !strings.Contains(e.Data, `"presence.join"`) {
		t.Errorf("got %+v, %v, want that ann came", e, err)
	}
	if res := s.do("GET", "/groups/chat.garden", ""); res.body != `{"group":"chat.garden","members":[{"id":"ann","info":{"a":1},"count":1}]}`+"\n" {
		t.Errorf("members: got %d %s", res.StatusCode, res.body)
	}
	if err := ch.Close(t.Context()); err != nil {
		t.Error(err)
	}
	s.g.Drain(t.Context(), 0)
	if numbers := s.do("GET", "/metrics", "").body; !strings.Contains(numbers, "rhubarb_sse_opened_total 2") {
		t.Errorf("metrics: got\n%s", grep(numbers, "sse_"))
	}
}

func TestBadGroupRequests(t *testing.T) {
	s, _ := openGroups(t)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		detail                   string
	}{
		{"a closed group", "POST", "/groups/secret", `{"type": "x"}`, 404, `the group "secret" is not open here`},
		{"a closed group's events", "GET", "/groups/secret/events", "", 404, "is not open here"},
		{"a closed group's members", "GET", "/groups/secret", "", 404, "is not open here"},
		{"a bad name", "POST", "/groups/a%20b", `{"type": "x"}`, 400, "only ASCII letters"},
		{"a bad name's events", "GET", "/groups/a%2Fb/events", "", 400, "only ASCII letters"},
		{"no body", "POST", "/groups/chat.x", "", 400, ""},
		{"no object", "POST", "/groups/chat.x", `[]`, 422, "must be text"},
		{"no type", "POST", "/groups/chat.x", `{"message": "hello"}`, 422, "must be text"},
		{"a type that is none", "POST", "/groups/chat.x", `{"type": 1}`, 422, "must be text"},
		{"a private type", "POST", "/groups/chat.x", `{"type": "_x"}`, 422, "begins with a dot or an underscore"},
		{"no JSON", "POST", "/groups/chat.x", `{"type": `, 400, ""},
		{"no such method", "DELETE", "/groups/chat.x", "", 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := s.do(c.method, c.path, c.body)
			expectProblem(t, res, c.status, c.detail)
		})
	}
	plain := open(t, gateway.Options{})
	if res := plain.do("POST", "/groups/chat.x", `{"type": "x"}`); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a hub: got %d", res.StatusCode)
	}
}

// TestATaskTellsAGroup sends from inside a task, in whatever process it runs,
// with nothing but the engine.
func TestATaskTellsAGroup(t *testing.T) {
	s, _ := openGroups(t)
	notify := rhubarb.Define("notify", func(ctx context.Context, text string) (rhubarb.None, error) {
		e, err := channels.NewEvent("chat.message", map[string]string{"message": text})
		if err != nil {
			return rhubarb.None{}, err
		}
		return rhubarb.None{}, channels.GroupSend(ctx, s.app.Engines().Layer, "chat.garden", e)
	})
	w, err := worker.New(s.app, []rhubarb.Runnable{notify}, &worker.Options{Grace: time.Millisecond, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var run sync.WaitGroup
	defer run.Wait()
	defer stop()
	run.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("worker: %v", err)
		}
	})
	browser := s.follow("/groups/chat.garden/events")
	if _, err := notify.Delay(t.Context(), s.app, "from a task"); err != nil {
		t.Fatal(err)
	}
	if e, err := browser.Next(); err != nil || e.Data != `{"message":"from a task","type":"chat.message"}` {
		t.Errorf("heard %+v, %v", e, err)
	}
}
