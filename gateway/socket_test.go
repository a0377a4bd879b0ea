package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/gateway"
)

// keep has groups keep an hour of what is sent.
func keep(o *gateway.Options) { o.Keep = func(string) time.Duration { return time.Hour } }

// dial opens a WebSocket. An answer that is none is returned.
func (s *site) dial(path string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response) {
	s.t.Helper()
	c, resp, err := websocket.Dial(s.t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+path, opts)
	if err != nil {
		if resp == nil {
			s.t.Fatal(err)
		}
		return nil, resp
	}
	s.t.Cleanup(func() { c.CloseNow() })
	return c, resp
}

func (s *site) socket(path string, subprotocols ...string) *websocket.Conn {
	s.t.Helper()
	c, resp := s.dial(path, &websocket.DialOptions{Subprotocols: subprotocols})
	if c == nil {
		s.t.Fatalf("%s was answered %s", path, resp.Status)
	}
	return c
}

func (s *site) say(c *websocket.Conn, text string) {
	s.t.Helper()
	if err := c.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) hears(c *websocket.Conn, want string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, got, err := c.Read(ctx)
	if err != nil || string(got) != want {
		s.t.Fatalf("heard %s, %v, want %s", got, err, want)
	}
}

// closes waits for the close code.
func (s *site) closes(c *websocket.Conn, want websocket.StatusCode) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, got, err := c.Read(ctx)
	if websocket.CloseStatus(err) != want {
		s.t.Fatalf("heard %s, %v, want the close code %d", got, err, want)
	}
}

const hello, later = `{"message":"hello","type":"chat.message"}`, `{"message":"later","type":"chat.message"}`

func TestAGroupOverWebSocket(t *testing.T) {
	s, _ := openGroups(t)
	one, two := s.socket("/groups/chat.garden/ws"), s.socket("/groups/chat.garden/ws")
	s.say(one, `{"type": "chat.message", "message": "hello"}`)
	s.hears(one, hello)
	s.hears(two, hello)
	s.say(one, `{"message": "no type"}`)
	s.hears(one, `{"error":"type must be text: want {\"type\": \"chat.message\", …}"}`)
	s.say(one, `not JSON`)
	if _, got, err := one.Read(t.Context()); err != nil || !strings.Contains(string(got), "is not JSON") {
		t.Errorf("heard %s, %v", got, err)
	}
	if res := s.do("POST", "/groups/chat.garden", later); res.StatusCode != http.StatusAccepted {
		t.Fatalf("publish: %s", res.Status)
	}
	s.hears(two, later)
	if numbers := s.do("GET", "/metrics", "").body; !strings.Contains(numbers, "rhubarb_ws_connections 2") {
		t.Errorf("metrics: got\n%s", grep(numbers, "ws_"))
	}
	if _, resp := s.dial("/groups/secret/ws", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a closed group: %s", resp.Status)
	}
	if _, resp := s.dial("/groups/chat.garden/ws?last=many", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a bad bound: %s", resp.Status)
	}
	if res := s.do("GET", "/groups/chat.garden/ws", ""); res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %s", res.Status)
	}
}

func TestAClientGoesOnWhereItWas(t *testing.T) {
	s, _ := openGroups(t, keep)
	first := s.socket("/groups/chat.garden/ws", "rhubarb.v1")
	s.do("POST", "/groups/chat.garden", hello)
	s.do("POST", "/groups/chat.garden", later)
	s.envelope(first) // where it is
	m := s.envelope(first)
	if m.ID == "" || string(m.Data) != hello {
		t.Fatalf("heard %+v", m)
	}
	s.hears(s.socket("/groups/chat.garden/ws?last_event_id="+m.ID), later)
	s.hears(s.socket("/groups/chat.garden/ws?last=1"), later)
	gap := s.socket("/groups/chat.garden/ws?last_event_id=elsewhere", "rhubarb.v1")
	s.hears(gap, `{"gap":true}`)
	s.hears(s.socket("/groups/chat.garden/ws?last_event_id=elsewhere"), `{"type":"history.gap"}`)

	events := s.follow("/groups/chat.garden/events?last_event_id=" + m.ID)
	e, err := events.Next()
	if err != nil || e.Data != later || e.ID == "" {
		t.Errorf("as an event: %+v, %v", e, err)
	}
	all := s.follow("/groups/chat.garden/events?last=1000")
	for _, want := range []string{hello, later} {
		if e, err := all.Next(); err != nil || e.Data != want {
			t.Errorf("as an event: %+v, %v, want %s", e, err, want)
		}
	}
	if e, err := s.follow("/groups/chat.garden/events?last_event_id=elsewhere").Next(); err != nil || e.Type != "gap" {
		t.Errorf("a foreign position: %+v, %v, want a gap", e, err)
	}
}

func TestAComplaintSaysOfWhichMessage(t *testing.T) {
	s, _ := openGroups(t)
	c := s.socket("/groups/chat.garden/ws", "rhubarb.v1")
	s.say(c, hello)
	s.hears(c, `{"data":`+hello+`}`)
	s.say(c, `{}`)
	s.hears(c, `{"error":"type must be text: want {\"type\": \"chat.message\", …}","n":2}`)
}

// A browser does not show why a handshake failed, so that a page asks again
// plainly.
func TestAPlainRequestTellsWhyAHandshakeIsRefused(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) {
		o.Origins, o.Token = []string{"https://app.example.org"}, "sesame"
	})
	for path, status := range map[string]int{
		"/groups/chat.garden/ws":                     http.StatusUnauthorized,
		"/groups/secret/ws?access_token=sesame":      http.StatusNotFound,
		"/groups/secret/events?access_token=sesame":  http.StatusNotFound,
		"/groups/chat.garden/events":                 http.StatusUnauthorized,
		"/groups/chat.garden/ws?access_token=sesame": http.StatusUpgradeRequired,
	} {
		res := s.do("GET", path, "", "Origin", "https://app.example.org")
		shared := res.Header.Get("Access-Control-Allow-Origin") == "https://app.example.org"
		if res.StatusCode != status || !shared && status != http.StatusUpgradeRequired {
			t.Errorf("%s: got %d, readable for the page: %v, want %d and true", path, res.StatusCode, shared, status)
		}
		if vary := res.Header.Values("Vary"); shared && len(vary) != 1 {
			t.Errorf("%s: Vary is %q", path, vary)
		}
	}
}

func TestAStreamOverWebSocket(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	id := s.call("math.add", `{"args":[1,2]}`)
	s.state(id)
	c := s.socket("/tasks/" + id + "/ws")
	var kinds, ids []string
	for {
		_, raw, err := c.Read(t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Fatal(err)
			}
			break
		}
		var m struct{ ID, Event string }
		if err := json.Unmarshal(raw, &m); err != nil || m.ID == "" {
			t.Fatalf("heard %s, %v", raw, err)
		}
		kinds, ids = append(kinds, m.Event), append(ids, m.ID)
	}
	if len(kinds) < 2 || kinds[0] != "reset" || kinds[len(kinds)-1] != "end" {
		t.Fatalf("records %q", kinds)
	}
	again := s.socket("/tasks/" + id + "/ws?last_event_id=" + ids[len(ids)-2])
	if _, raw, err := again.Read(t.Context()); err != nil || !strings.Contains(string(raw), `"event":"end"`) {
		t.Errorf("after the last but one: %s, %v", raw, err)
	}
	s.closes(again, websocket.StatusNormalClosure)
	waiting := s.socket("/tasks/nobody-called-it/ws")
	s.g.Drain(t.Context(), 0)
	s.closes(waiting, websocket.StatusServiceRestart)
}

func TestPagesOfOtherSitesGetNoWebSocket(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) { o.Origins = []string{"https://app.example.org"} })
	for origin, status := range map[string]int{"https://evil.example": 403, "https://app.example.org": 101} {
		_, resp := s.dial("/groups/chat.garden/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if resp.StatusCode != status {
			t.Errorf("a page of %s was answered %s, want %d", origin, resp.Status, status)
		}
	}
}
