package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
	"github.com/rhubarb-go/rhubarb/sse"
)

var secret = bytes.Repeat([]byte("rhubarb "), 8)

// token is signed for a user, for a time, with the claim about permissions.
func token(t *testing.T, user string, life time.Duration, claim string) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "exp": time.Now().Add(life).Unix(), "rhubarb": json.RawMessage(claim),
	}).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// guarded is a site where tokens count, and tickets, and one may have two
// connections.
func guarded(t *testing.T) *site {
	t.Helper()
	tokens, err := auth.NewJWT(auth.JWTOptions{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := auth.NewTickets(secret)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := openGroups(t, keep, func(o *gateway.Options) {
		o.Token, o.Tasks = "the operator's", all
		o.Auth, o.Tickets, o.Connections = auth.Any(tickets, tokens), tickets, auth.NewLimiter(2)
	})
	return s
}

const annMay = `{"groups":{"read":["chat.*"],"write":["chat.garden"]},"streams":{"read":["*"]},"tasks":{"call":["nothing.*"]}}`

func TestWhoMayDoWhat(t *testing.T) {
	s := guarded(t)
	ann := "Bearer " + token(t, "ann", time.Hour, annMay)
	for _, c := range []struct {
		name, auth, method, path, body string
		status                         int
	}{
		{"no credentials", "", "GET", "/groups/chat.garden", "", 401},
		{"a forged token", ann[:len(ann)-4] + "AAAA", "GET", "/groups/chat.garden", "", 401},
		{"an expired token", "Bearer " + token(t, "ann", -time.Hour, annMay), "GET", "/groups/chat.garden", "", 401},
		{"a group she may read", ann, "GET", "/groups/chat.garden", "", 200},
		{"a group she may write to", ann, "POST", "/groups/chat.garden", hello, 202},
		{"a group she may only read", ann, "POST", "/groups/chat.lobby", hello, 403},
		{"a group she may not read", "Bearer " + token(t, "bob", time.Hour, `{}`), "GET", "/groups/chat.garden", "", 403},
		{"a task she may not call", ann, "POST", "/tasks/" + all[0].Definition().Name, "{}", 403},
		{"a task she may not stop", ann, "POST", "/tasks/abc/revoke", "", 403},
		{"a state she may see", ann, "GET", "/tasks/abc", "", 200},
		{"metrics, which are the operator's", ann, "GET", "/metrics", "", 403},
		{"kicks, which are the operator's", ann, "POST", "/users/bob/kick", "", 403},
		{"metrics for the operator", "Bearer the operator's", "GET", "/metrics", "", 200},
		{"any task for the operator", "Bearer the operator's", "POST", "/tasks/math.add", `{"args":[1,2]}`, 202},
		{"health for everyone", "", "GET", "/healthz", "", 200},
		{"the description for everyone known", ann, "GET", "/openapi.json", "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := s.do(c.method, c.path, c.body, "Authorization", c.auth)
			if res.StatusCode != c.status {
				t.Errorf("answered %s %s, want %d", res.Status, res.body, c.status)
			}
			if strings.Contains(res.body, "eyJ") {
				t.Errorf("the answer has the token in it: %s", res.body)
			}
		})
	}
}

func TestSocketsAreGuarded(t *testing.T) {
	s := guarded(t)
	if _, resp := s.dial("/groups/chat.garden/ws", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", resp.Status)
	}
	c := s.socket("/groups/chat.lobby/ws?access_token=" + token(t, "ann", time.Hour, annMay))
	s.say(c, hello)
	s.hears(c, `{"error":"user \"ann\" may not write group \"chat.lobby\""}`)
	ticket := func(body, auth string) (string, int) {
		res := s.do("POST", "/tickets", body, "Authorization", auth)
		var got struct{ Ticket string }
		_ = json.Unmarshal([]byte(res.body), &got)
		return got.Ticket, res.StatusCode
	}
	ann := "Bearer " + token(t, "ann", time.Hour, annMay)
	good, status := ticket(`{"action":"read group","name":"chat.garden"}`, ann)
	if status != http.StatusCreated || good == "" {
		t.Fatalf("a ticket: %d", status)
	}
	s.follow("/groups/chat.garden/events?ticket=" + good)
	for path, want := range map[string]int{
		"/groups/chat.lobby/events?ticket=" + good:                                     403,
		"/groups/chat.garden/events?ticket=" + good[:len(good)-2] + "AA":               401,
		"/groups/chat.garden/events?ticket=" + strings.Repeat("x", 1000):               401,
		"/groups/chat.garden/events":                                                   401,
		"/groups/chat.garden/events?access_token=" + token(t, "x", -time.Hour, annMay): 401,
	} {
		if res := s.do("GET", path, ""); res.StatusCode != want {
			t.Errorf("%.60s: answered %s, want %d", path, res.Status, want)
		}
	}
	for body, want := range map[string]int{
		`{"action":"write group","name":"chat.lobby"}`:               403,
		`{"action":"rule","name":"chat.lobby"}`:                      422,
		`{"action":"read group","name":"chat.lobby","for":"ever"}`:   400,
		`{"action":"read group","name":"chat.lobby","seconds":9999}`: 422,
	} {
		if _, status := ticket(body, ann); status != want {
			t.Errorf("%s: answered %d, want %d", body, status, want)
		}
	}
}

func TestConnectionsOfAUserAreBoundedAndEnded(t *testing.T) {
	s := guarded(t)
	query := "?access_token=" + token(t, "ann", time.Hour, annMay)
	one := s.socket("/groups/chat.garden/ws" + query)
	two := s.follow("/tasks/nobody-called-it/events" + query)
	if _, resp := s.dial("/groups/chat.garden/ws"+query, nil); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third connection: %s", resp.Status)
	}
	if res := s.do("GET", "/groups/chat.garden/events"+query, ""); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the third connection, as events: %s", res.Status)
	}
	s.socket("/groups/chat.garden/ws?access_token=" + token(t, "bob", time.Hour, annMay))
	res := s.do("POST", "/users/ann/kick", "", "Authorization", "Bearer the operator's")
	if res.body != `{"ended":2,"user":"ann"}`+"\n" {
		t.Errorf("kick: %s %s", res.Status, res.body)
	}
	s.closes(one, websocket.StatusPolicyViolation)
	for {
		if _, err := two.Next(); err != nil {
			break
		}
	}
	for end := time.Now().Add(20 * time.Second); ; { // the server forgets them in a moment
		c, resp := s.dial("/groups/chat.garden/ws"+query, nil)
		if c != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after the kick: %s", resp.Status)
		}
	}
}

// broken cannot tell who asks.
type broken struct{}

func (broken) Authenticate(*http.Request) (*auth.Grant, error) {
	return nil, errors.New("dial tcp 10.0.0.1:443: the secret host does not answer")
}

func TestAnAuthenticatorThatFailsLetsNobodyIn(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) { o.Auth, o.Token = broken{}, "the operator's" })
	res := s.do("GET", "/groups/chat.garden", "")
	expectProblem(t, res, http.StatusServiceUnavailable, "could not be found out")
	if strings.Contains(res.body, "secret host") {
		t.Errorf("the answer tells about the inside: %s", res.body)
	}
	for _, path := range []string{"/groups/chat.garden/events", "/groups/chat.garden/ws", "/tasks/x/events"} {
		expectProblem(t, s.do("GET", path, ""), http.StatusServiceUnavailable, "could not be found out")
	}
	s.numbers(`rhubarb_auth_refused_total{cause="unavailable"} 4`)
}

// brief lets everyone in for a moment.
type brief struct{}

func (brief) Authenticate(*http.Request) (*auth.Grant, error) {
	return &auth.Grant{Expires: time.Now().Add(300 * time.Millisecond), ReadGroups: []string{"*"}, ReadStreams: []string{"*"}}, nil
}

func TestConnectionsEndWithThePermission(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) { o.Auth, o.Token = brief{}, "the operator's" })
	group, stream := s.socket("/groups/chat.garden/ws"), s.socket("/tasks/nobody-called-it/ws")
	events := []*sse.Reader{s.follow("/groups/chat.garden/events"), s.follow("/tasks/nobody-called-it/events")}
	s.closes(group, 4401)
	s.closes(stream, 4401)
	for _, e := range events {
		if got, err := e.Next(); err == nil {
			t.Errorf("got %+v, want the end", got)
		}
	}
	s.numbers("rhubarb_ws_expired_total 2", `rhubarb_sse_closed_total{cause="expired"} 2`)
}

func TestAnonymousCallersAreNotOneUser(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) {
		o.Auth = auth.Anonymous(auth.Grant{ReadGroups: []string{"*"}})
		o.Connections = auth.NewLimiter(1)
	})
	for range 3 {
		s.socket("/groups/chat.garden/ws")
		s.follow("/groups/chat.garden/events")
	}
}

func TestAllConnectionsTogetherAreBounded(t *testing.T) {
	s, _ := openGroups(t, func(o *gateway.Options) { o.MaxConnections = 2 })
	for range 2 {
		s.socket("/groups/chat.garden/ws")
		s.follow("/groups/chat.garden/events")
	}
	if c, res := s.dial("/groups/chat.garden/ws", nil); c != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the third WebSocket got %v, want 503", res.Status)
	}
	r := s.follow("/groups/chat.garden/events")
	if e, err := r.Next(); err != io.EOF || r.Retry() == 0 {
		t.Errorf("the third event stream got %+v, %v, retry %v, want an end with a retry", e, err, r.Retry())
	}
	s.numbers(`rhubarb_ws_refused_total{cause="busy"} 1`, `rhubarb_sse_refused_total{cause="busy"} 1`)
}
