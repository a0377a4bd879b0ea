package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// pipes is a listener whose connections are made by net.Pipe, so that a server
// runs in a bubble of testing/synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// inBubble serves a gateway with a token and returns how to connect to it.
func inBubble(t *testing.T) (connect func() net.Conn) {
	t.Helper()
	e := memengine.New()
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(app, &gateway.Options{Token: "sesame", Tasks: all, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	web := &http.Server{Handler: g}
	served := make(chan error, 1)
	go func() { served <- web.Serve(p) }()
	t.Cleanup(func() {
		if err := errors.Join(web.Close(), e.Close()); err != nil {
			t.Error(err)
		}
		<-served
	})
	return func() net.Conn {
		here, there := net.Pipe()
		p.conns <- there
		t.Cleanup(func() { here.Close() })
		return here
	}
}

// TestABodyThatDoesNotComeIsNotWaitedForLong sends a head that promises a body.
// net/http reads a body before it answers, also where nobody wants it.
func TestABodyThatDoesNotComeIsNotWaitedForLong(t *testing.T) {
	const secret = "Authorization: Bearer sesame\r\n"
	for _, tt := range []struct{ name, head, status string }{
		{"of a call", "POST /tasks/none HTTP/1.1\r\n" + secret + "Content-Length: 10\r\n", "408"},
		{"of a call, in chunks", "POST /tasks/none HTTP/1.1\r\n" + secret + "Transfer-Encoding: chunked\r\n", "408"},
		{"of a stranger", "POST /tasks/none HTTP/1.1\r\nContent-Length: 10\r\n", "401"},
		{"where nothing is", "POST /nope HTTP/1.1\r\nContent-Length: 10\r\n", "404"},
		{"of another method", "PUT /tasks/none HTTP/1.1\r\nContent-Length: 10\r\n", "405"},
		{"of a read", "GET /tasks/x HTTP/1.1\r\n" + secret + "Content-Length: 10\r\n", "200"},
		{"of a stream", "GET /tasks/x/events HTTP/1.1\r\n" + secret + "Content-Length: 10\r\n", "400"},
		{"of a stream to post", "POST /tasks/x/events HTTP/1.1\r\n" + secret + "Content-Length: 10\r\n", "405"},
		{"of a WebSocket", "GET /tasks/x/ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" + secret + "Content-Length: 10\r\n", "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc := inBubble(t)()
				start := time.Now()
				if err := nc.SetDeadline(start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(nc, tt.head+"Host: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(nc)
				if !strings.HasPrefix(string(answer), "HTTP/1.1 "+tt.status+" ") || err != nil {
					t.Errorf("answered %.100q, %v, want %s", answer, err, tt.status)
				}
				if took := time.Since(start); took > 31*time.Second {
					t.Errorf("the connection was there for %v, want half a minute at most", took)
				}
			})
		})
	}
}

// numbers waits until the metrics have all these lines.
func (s *site) numbers(want ...string) {
	s.t.Helper()
	var body string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		body = s.do("GET", "/metrics", "", "Authorization", "Bearer the operator's").body
		missing := ""
		for _, w := range want {
			if !strings.Contains("\n"+body, "\n"+w+"\n") {
				missing = w
			}
		}
		if missing == "" {
			return
		}
	}
	s.t.Errorf("want %q in\n%s", want, grep(body, "rhubarb_"))
}

func TestWhoIsNotLetInIsCountedByCause(t *testing.T) {
	s := guarded(t)
	sign := func(method jwt.SigningMethod, key any, audience string) string {
		raw, err := jwt.NewWithClaims(method, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "aud": audience}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "?access_token=" + raw
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	none, bad, forbidden := 0, 0, 0
	for _, c := range []struct {
		name, query string
		status      int
		count       *int
	}{
		{"nothing", "", 401, &none},
		{"a token with the algorithm none", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, ""), 401, &bad},
		{"a token of another key", sign(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), ""), 401, &bad},
		{"a token that expired", "?access_token=" + token(t, "ann", -time.Hour, annMay), 401, &bad},
		{"no token", "?access_token=no.token.atall", 401, &bad},
		{"a token twice", "?access_token=a&access_token=b", 401, &bad},
		{"a forged ticket", "?ticket=v1.AAAA.BBBB", 401, &bad},
		{"a user who may not", "?access_token=" + token(t, "bob", time.Hour, `{}`), 403, &forbidden},
	} {
		for _, path := range []string{"/groups/chat.garden/events", "/groups/chat.garden/ws", "/tasks/x/events", "/tasks/x/ws", "/groups/chat.garden", "/tasks/x"} {
			var header []string
			if strings.HasSuffix(path, "/ws") {
				header = upgrade
			}
			if res := s.do("GET", path+c.query, "", header...); res.StatusCode != c.status {
				t.Errorf("%s at %s: answered %s %s, want %d", c.name, path, res.Status, res.body, c.status)
			}
			*c.count++
		}
	}
	s.numbers(fmt.Sprintf(`rhubarb_auth_refused_total{cause="none"} %d`, none), fmt.Sprintf(`rhubarb_auth_refused_total{cause="bad"} %d`, bad),
		fmt.Sprintf(`rhubarb_auth_refused_total{cause="forbidden"} %d`, forbidden),
		`rhubarb_http_requests_total{code="403",route="/groups/{group}/ws"} 1`, `rhubarb_http_requests_total{code="401",route="/tasks/{id}/events"} 7`)
}

func TestAnAudienceThatIsNotMeantIsRefused(t *testing.T) {
	tokens, err := auth.NewJWT(auth.JWTOptions{Secret: secret, Audience: "this server"})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := openGroups(t, func(o *gateway.Options) { o.Auth = tokens })
	res := s.do("GET", "/groups/chat.garden/events?access_token="+token(t, "ann", time.Hour, annMay), "")
	expectProblem(t, res, http.StatusUnauthorized, "lacks a claim")
}

// TestWhatStreamsAnswerIsCounted is about routes that may take the connection
// over: of what they refuse, each status counts.
func TestWhatStreamsAnswerIsCounted(t *testing.T) {
	s := guarded(t)
	query := "?access_token=" + token(t, "ann", time.Hour, annMay)
	s.socket("/groups/chat.garden/ws" + query)
	s.follow("/tasks/nobody/events" + query)
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/groups/chat.garden/events" + query, 429},
		{"/tasks/nobody/events" + query, 429},
		{"/events" + query + "&group=chat.garden", 429},
		{"/groups/chat.garden/events" + query + "&last=x", 400},
		{"/groups/chat.garden/ws" + query, 426},
		{"/groups/secret/events" + query, 403},
		{"/events" + query + "&group=secret", 404},
	} {
		if res := s.do("GET", c.path, ""); res.StatusCode != c.status {
			t.Errorf("%s: answered %s, want %d", c.path, res.Status, c.status)
		}
	}
	res := s.do("GET", "/groups/chat.garden/events?access_token="+token(t, "bob", time.Hour, annMay), "", "Origin", "https://evil.example")
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: %s", res.Status)
	}
	s.numbers(
		`rhubarb_http_requests_total{code="101",route="/groups/{group}/ws"} 1`,
		`rhubarb_http_requests_total{code="200",route="/tasks/{id}/events"} 1`,
		`rhubarb_http_requests_total{code="429",route="/groups/{group}/events"} 1`,
		`rhubarb_http_requests_total{code="429",route="/tasks/{id}/events"} 1`,
		`rhubarb_http_requests_total{code="429",route="/events"} 1`,
		`rhubarb_http_requests_total{code="400",route="/groups/{group}/events"} 1`,
		`rhubarb_http_requests_total{code="426",route="/groups/{group}/ws"} 1`,
		`rhubarb_http_requests_total{code="403",route="/groups/{group}/events"} 2`,
		`rhubarb_http_requests_total{code="404",route="/events"} 1`,
		`rhubarb_auth_refused_total{cause="busy"} 3`,
		`rhubarb_ws_refused_total{cause="handshake"} 1`,
		`rhubarb_sse_refused_total{cause="forbidden"} 1`)
	if res := s.do("POST", "/users/ann/kick", "", "Authorization", "Bearer the operator's"); res.StatusCode != http.StatusOK {
		t.Fatalf("kick: %s", res.Status)
	}
	s.numbers("rhubarb_kicked_total 2", "rhubarb_sse_connections 0", "rhubarb_ws_connections 0")
}

func TestAPositionFromElsewhereIsAGapInEveryWay(t *testing.T) {
	s, _ := openGroups(t, keep)
	s.tells("chat.garden", "1")
	s.tells("chat.other", "1")
	write(t, s.writer("a"), `"one"`)
	write(t, s.writer("b"), `"one"`)
	group := func(offset uint64, name string) string { return string(engine.Cursor{Offset: offset}.Position(name)) }
	cursors := map[string]string{
		"no position":             "nonsense",
		"one with odd bytes":      "%00%ff%3Cscript%3E",
		"one of a stream":         string(engine.Cursor{Offset: 1, Attempt: 1, N: 1}.Position("elsewhere")),
		"one of another group":    group(2, "chat.other"),
		"one that is to come":     group(1<<40, "chat.garden"),
		"the largest there is":    group(1<<63, "chat.garden"),
		"one of 4,000 bytes":      strings.Repeat("x", 4000),
		"a vector of nothing":     "vAAAA",
		"a handle that is none":   "hAAAAAAAAAAAAAAAAAAAAAAAAAA.1.1",
		"a handle of minus one":   "hAAAAAAAAAAAAAAAAAAAAAAAAAA.-1.-1",
		"a stream's that is ours": string(engine.Cursor{Offset: 1 << 40, Attempt: 1, N: 1 << 40}.Position("a")),
	}
	for name, cursor := range cursors {
		t.Run(name, func(t *testing.T) {
			s := &site{t, s.app, s.g, s.url}
			at := "?last_event_id=" + cursor
			if e, err := s.follow("/groups/chat.garden/events" + at).Next(); err != nil || e.Type != "gap" {
				t.Errorf("a group's events: %+v, %v, want a gap", e, err)
			}
			s.hears(s.socket("/groups/chat.garden/ws"+at, "rhubarb.v1"), `{"gap":true}`)
			if e, err := s.follow("/tasks/a/events" + at).Next(); err != nil || e.Type != "gap" {
				t.Errorf("a stream's events: %+v, %v, want a gap", e, err)
			}
			_, raw, err := s.socket("/tasks/a/ws" + at).Read(t.Context())
			if err != nil || !strings.Contains(string(raw), `"event":"gap"`) {
				t.Errorf("a stream over a WebSocket: %s, %v, want a gap", raw, err)
			}
			e, err := s.follow("/events" + at + "&task=a").Next()
			if err != nil || !strings.Contains(e.Data, `"event":"gap"`) {
				t.Errorf("one of several: %+v, %v, want a gap", e, err)
			}
		})
	}
}

// TestRequestsBehindAStreamAreNotAnswered sends, on the connection of an event
// stream, what a proxy might let through as a second request.
func TestRequestsBehindAStreamAreNotAnswered(t *testing.T) {
	s, _ := openGroups(t)
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(nc, "GET /groups/chat.garden/events HTTP/1.1\r\nHost: x\r\n\r\nPOST /groups/chat.other HTTP/1.1\r\nHost: x\r\n"+
		"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"type\":\"x\"}GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusOK || !res.Close {
		t.Fatalf("answered %+v, %v, want a stream that is the last on its connection", res, err)
	}
	s.tells("chat.garden", "1")
	s.g.Drain(context.WithoutCancel(t.Context()), 0)
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(body), `"n":1`) {
		t.Errorf("the stream is %q, %v", body, err)
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the stream came %q", rest)
	}
	s.numbers(`rhubarb_http_requests_total{code="200",route="/groups/{group}/events"} 1`)
	if got := grep(s.do("GET", "/metrics", "").body, `route="/groups/{group}"`); strings.Contains(got, `code="202",route="/groups/{group}"} 2`) {
		t.Errorf("the second request was taken:\n%s", got)
	}
}

func TestConnectionsWithoutARequestAreCounted(t *testing.T) {
	s, _ := openGroups(t)
	srv := httptest.NewUnstartedServer(s.g)
	s.g.Prepare(srv.Config)
	srv.Config.ReadHeaderTimeout = 50 * time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(func() { s.g.Drain(context.WithoutCancel(t.Context()), 0) })
	s.url = srv.URL
	for _, said := range []string{"", "GET /", "GET / HTTP/1.1\r\nX-Slow: ", "\x16\x03\x01", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 100<<10)} {
		nc, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(nc, said)
		_, _ = io.ReadAll(nc) // the end, or a reset if it was too much
	}
	s.follow("/groups/chat.garden/events")
	s.socket("/groups/chat.garden/ws")
	s.numbers("rhubarb_http_unused_connections_total 5", "rhubarb_sse_connections 1", "rhubarb_ws_connections 1")
}

func TestEventsThatAreTooDeepAreRefused(t *testing.T) {
	s, _ := openGroups(t)
	for depth, status := range map[int]int{100: 202, 600: 422, 20000: 400} {
		body := `{"type":"x","a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
		if res := s.do("POST", "/groups/chat.garden", body); res.StatusCode != status {
			t.Errorf("an event %d deep: answered %s %.200s, want %d", depth, res.Status, res.body, status)
		}
	}
	res := s.do("POST", "/groups/chat.garden", `{"type":"x","a":"`+strings.Repeat("x", 2<<20)+`"}`)
	expectProblem(t, res, http.StatusRequestEntityTooLarge, "more than 1048576 bytes")
	s.numbers(`rhubarb_http_requests_total{code="413",route="/groups/{group}"} 1`)
}
