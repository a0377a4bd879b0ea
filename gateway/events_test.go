package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/sse"
)

// events attaches to a task's stream as an EventSource does.
func (s *site) events(id, after string) (*sse.Reader, *http.Response) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/tasks/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	return sse.NewReader(res.Body, nil), res
}

// rest reads a stream to its end.
func rest(t *testing.T, r *sse.Reader) (all []sse.Event) {
	t.Helper()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func TestStreamIsFollowedLiveAndGoneOnWith(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	id := s.call("talk", `{"args": [["one", "two", "three"]]}`)
	live, res := s.events(id, "") // before a worker is there
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	s.work()
	whole := rest(t, live)
	var kinds, words []string
	for _, e := range whole {
		kinds = append(kinds, e.Type)
		if e.Type == "" {
			words = append(words, e.Data)
		}
	}
	if got := strings.Join(words, " "); got != `"one" "two" "three"` || kinds[0] != "reset" || kinds[len(kinds)-1] != "end" {
		t.Fatalf("got words %s in events %v, want three, after reset and before end", got, kinds)
	}
	if !strings.Contains(whole[len(whole)-1].Data, `"SUCCESS"`) {
		t.Errorf("end: got %s, want SUCCESS", whole[len(whole)-1].Data)
	}
	for i, e := range whole {
		r, res := s.events(id, e.ID)
		if i == len(whole)-1 {
			if res.StatusCode != http.StatusNoContent {
				t.Errorf("after the end: got %d, want 204", res.StatusCode)
			}
			continue
		}
		if got := rest(t, r); len(got) != len(whole)-i-1 || got[0] != whole[i+1] {
			t.Errorf("after event %d: got %d events, want the %d that follow", i, len(got), len(whole)-i-1)
		}
	}
	s.numbers("rhubarb_sse_connections 0", fmt.Sprintf(`rhubarb_sse_closed_total{cause="end"} %d`, len(whole)),
		`rhubarb_sse_closed_total{cause="slow"} 0`, `rhubarb_sse_refused_total{cause="at_end"} 1`)
}

func TestForeignPositionIsAGap(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	id := s.call("none", "")
	s.state(id)
	r, res := s.events(id, "nonsense")
	got := rest(t, r)
	if res.Header.Get(sse.GapHeader) != "position" || len(got) < 2 || got[0].Type != "gap" || got[len(got)-1].Type != "end" {
		t.Errorf("got %+v with %v, want a gap first and the whole stream", got, res.Header)
	}
}

func TestDrainEndsStreamsWithAWordWhenToComeBack(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	r, _ := s.events(s.call("block", ""), "")
	if e, err := r.Next(); err != nil || e.Type != "reset" {
		t.Fatalf("got %+v, %v, want the reset that opens an attempt", e, err)
	}
	s.g.Drain(t.Context(), 0)
	if e, err := r.Next(); !errors.Is(err, io.EOF) || r.Retry() <= 0 {
		t.Errorf("got %+v, %v, retry %v, want a clean end that says when to come back", e, err, r.Retry())
	}
}

func TestStreamTakesTheTokenAsAParameter(t *testing.T) {
	s := open(t, gateway.Options{Token: "sesame"})
	s.g.Drain(t.Context(), 0) // so that the stream ends at once
	if res := s.do("GET", "/tasks/x/events?access_token=sesame", ""); res.StatusCode != 200 {
		t.Errorf("with the token: got %d %s", res.StatusCode, res.body)
	}
	expectProblem(t, s.do("GET", "/tasks/x/events?access_token=wrong", ""), 401, "Bearer")
	expectProblem(t, s.do("DELETE", "/tasks/x/events", "", "Authorization", "Bearer sesame"), 405, "DELETE does nothing")
}

func TestStreamIsNotForOtherSites(t *testing.T) {
	s := open(t, gateway.Options{Origins: []string{"https://app.example.org"}})
	s.g.Drain(t.Context(), 0)
	if res := s.do("GET", "/tasks/x/events", "", "Origin", "https://evil.example"); res.StatusCode != 403 {
		t.Errorf("another site: got %d, want 403", res.StatusCode)
	}
	res := s.do("GET", "/tasks/x/events", "", "Origin", "https://app.example.org")
	if got := res.Header.Values("Access-Control-Allow-Origin"); res.StatusCode != 200 || len(got) != 1 || got[0] != "https://app.example.org" {
		t.Errorf("an allowed site: got %d, %q", res.StatusCode, got)
	}
}

func TestHEADHasTheHeadersOfAStreamAndOpensNone(t *testing.T) {
	s, _ := openGroups(t)
	for _, path := range []string{"/tasks/nobody-called-it/events", "/groups/chat.garden/events", "/events?group=chat.garden&task=nobody-called-it"} {
		res := s.do("HEAD", path, "")
		for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
			if got := res.Header.Get(name); res.StatusCode != http.StatusOK || got != want {
				t.Errorf("%s: got %d with %s: %q, want 200 and %q", path, res.StatusCode, name, got, want)
			}
		}
	}
	if numbers := s.do("GET", "/metrics", "").body; !strings.Contains(numbers, "\nrhubarb_sse_opened_total 0\n") {
		t.Errorf("streams were opened:\n%s", numbers)
	}
}
