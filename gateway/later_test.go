package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
)

// wait is a stream that ends at once and says when to come back.
var wait = regexp.MustCompile(`^retry: [12]\d\d\d\n$`)

// expectLater is what an EventSource must be answered that cannot be served
// now: at 429 or 503 it would stay away for good.
func expectLater(t *testing.T, what string, status int, kind, body string) {
	t.Helper()
	if status != http.StatusOK || kind != "text/event-stream" || !wait.MatchString(body) {
		t.Errorf("%s: got %d %s %q, want 200, text/event-stream and a retry of a second or two", what, status, kind, body)
	}
}

func (s *site) expectLater(what, path string) {
	s.t.Helper()
	res := s.do("GET", path, "", "Accept", "text/event-stream")
	expectLater(s.t, what, res.StatusCode, res.Header.Get("Content-Type"), res.body)
	if got := s.do("GET", path, "", "Accept", "*/*").StatusCode; got != http.StatusTooManyRequests && got != http.StatusServiceUnavailable {
		s.t.Errorf("%s: who is no EventSource got %d, want 429 or 503", what, got)
	}
}

func TestAnEventSourceIsNotSentAwayForGood(t *testing.T) {
	for _, path := range []string{"/groups/chat.garden/events", "/events?group=chat.garden", "/tasks/nobody-called-it/events"} {
		s, _ := openGroups(t, func(o *gateway.Options) { o.Auth = broken{} })
		s.expectLater("nobody knows who asks at "+path, path)

		s = guarded(t)
		query := "access_token=" + token(t, "ann", time.Hour, annMay)
		s.socket("/groups/chat.garden/ws?" + query)
		s.socket("/groups/chat.garden/ws?" + query)
		if path += "?"; strings.Count(path, "?") > 1 {
			path = strings.TrimSuffix(path, "?") + "&"
		}
		s.expectLater("the user has all connections, at "+path, path+query)
	}
}

func TestAnEventSourceThatMayNotIsSentAwayForGood(t *testing.T) {
	s := guarded(t)
	query := "?access_token=" + token(t, "ann", time.Hour, annMay)
	for path, want := range map[string]int{
		"/groups/chat.garden/events":     http.StatusUnauthorized,
		"/groups/kitchen/events" + query: http.StatusForbidden,
	} {
		if got := s.do("GET", path, "", "Accept", "text/event-stream").StatusCode; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}

// stuck is a layer that does not answer questions about history before it is
// freed.
type stuck struct {
	engine.Layer
	free chan struct{}
}

func (s stuck) History(context.Context, string, uint64, int) ([]engine.Kept, bool, error) {
	<-s.free
	return nil, false, engine.ErrClosed
}

func TestANewcomerDoesNotWaitLongForAnEngineThatIsStuck(t *testing.T) {
	for _, path := range []string{"/groups/chat.garden/events", "/events?group=chat.garden"} {
		synctest.Test(t, func(t *testing.T) {
			e := memengine.New()
			defer e.Close()
			layer := stuck{e, make(chan struct{})}
			hub, err := channels.Open(t.Context(), layer, &channels.Options{Logger: silent})
			if err != nil {
				t.Fatal(err)
			}
			defer hub.Close()
			app, err := rhubarb.New(engine.All(e), nil)
			if err != nil {
				t.Fatal(err)
			}
			g, err := gateway.New(app, &gateway.Options{Hub: hub, Logger: silent, Keep: func(string) time.Duration { return time.Hour }})
			if err != nil {
				t.Fatal(err)
			}
			rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
			req.Header.Set("Accept", "text/event-stream")
			start := time.Now()
			g.ServeHTTP(rec, req)
			if took := time.Since(start); took != 2*time.Second {
				t.Errorf("%s: answered after %v, want 2s", path, took)
			}
			expectLater(t, path, rec.Code, rec.Header().Get("Content-Type"), rec.Body.String())
			close(layer.free)
			g.Drain(t.Context(), 0)
		})
	}
}
