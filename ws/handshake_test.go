package ws

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestHandshakesThatAreNone(t *testing.T) {
	s, addr := serve(t, Options{}, echo)
	good := []string{"GET /ws HTTP/1.1", "Host: " + addr, "Upgrade: websocket", "Connection: keep-alive, Upgrade",
		"Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Version: 13"}
	for _, tt := range []struct {
		name, line, instead string
		status              int
		header, value       string
	}{
		{"another method", good[0], "POST /ws HTTP/1.1", 405, "Allow", "GET"},
		{"HTTP/1.0", good[0], "GET /ws HTTP/1.0", 505, "", ""},
		{"a page's request", good[2], "Accept: text/html", 426, "Upgrade", "websocket"},
		{"another upgrade", good[2], "Upgrade: h2c", 426, "Upgrade", "websocket"},
		{"no connection token", good[3], "Connection: keep-alive", 400, "", ""},
		{"no key", good[4], "X-None: 0", 400, "", ""},
		{"a short key", good[4], "Sec-WebSocket-Key: c2hvcnQ=", 400, "", ""},
		{"a key that is not base64", good[4], "Sec-WebSocket-Key: !!!!", 400, "", ""},
		{"no version", good[5], "X-None: 0", 426, "Sec-Websocket-Version", "13"},
		{"a body", good[2], good[2] + "\nContent-Length: 7", 400, "", ""},
		{"a body in chunks", good[2], good[2] + "\nTransfer-Encoding: chunked", 400, "", ""},
		{"an old version", good[5], "Sec-WebSocket-Version: 8", 426, "Sec-Websocket-Version", "13"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := dialRaw(t, addr)
			p.request(strings.Split(strings.ReplaceAll(strings.Join(good, "\n"), tt.line, tt.instead), "\n")...)
			if p.resp.StatusCode != tt.status || tt.header != "" && p.resp.Header.Get(tt.header) != tt.value {
				t.Errorf("answered %s with %v, want %d and %s: %s", p.resp.Status, p.resp.Header, tt.status, tt.header, tt.value)
			}
		})
	}
	if n := s.Stats().BadHandshake.Load(); n != 12 {
		t.Errorf("%d bad handshakes were counted, want 12", n)
	}
}

// TestTheStandardsExample is RFC 6455, 1.3.
func TestTheStandardsExample(t *testing.T) {
	_, addr := serve(t, Options{Subprotocols: []string{"soap", "chat"}}, echo)
	p := dial(t, addr, "Sec-WebSocket-Protocol: superchat, chat")
	h := p.resp.Header
	if got := h.Get("Sec-Websocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("accept %q", got)
	}
	if got := h.Get("Sec-Websocket-Protocol"); got != "chat" {
		t.Errorf("subprotocol %q, want chat", got)
	}
}

func TestOrigins(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		allow        []string
		status       int
	}{
		{"the same host", "Origin: http://HOST", nil, 101},
		{"another host", "Origin: https://evil.example", nil, 403},
		{"another port", "Origin: http://127.0.0.1:1", nil, 403},
		{"no page", "Origin: null", nil, 403},
		{"one that is allowed", "Origin: https://app.example.org", []string{"https://app.example.org"}, 101},
		{"one that is longer than the allowed one", "Origin: https://app.example.org.evil.example", []string{"https://app.example.org"}, 403},
		{"anyone where all are", "Origin: https://evil.example", []string{"*"}, 101},
		{"a program", "X-None: 0", nil, 101},
		{"a program with cookies", "Cookie: session=1", nil, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, addr := serve(t, Options{Origins: tt.allow}, echo)
			p := dialRaw(t, addr)
			p.shake(strings.ReplaceAll(tt.header, "HOST", addr))
			if p.resp.StatusCode != tt.status {
				t.Errorf("answered %s, want %d", p.resp.Status, tt.status)
			}
			want := uint64(0)
			if tt.status == http.StatusForbidden {
				want = 1
			}
			if n := s.Stats().BadOrigin.Load(); n != want {
				t.Errorf("%d counted as bad, want %d", n, want)
			}
		})
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{MaxMessage: -1}, "must not be negative"},
		{Options{Origins: []string{"example.org"}}, "want a form like https://app.example.org"},
		{Options{Origins: []string{"https://example.org/path"}}, "is no origin"},
		{Options{Subprotocols: []string{"a b"}}, "is no subprotocol"},
	} {
		if _, err := New(&tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q in it", tt.opts, err, tt.want)
		}
	}
}

func TestWhatAMiddlewareSetGoesAlong(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := mount(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "seen=1")
		w.Header().Set("Content-Type", "text/plain")
		if c, err := s.Accept(w, r); err == nil {
			echo(c)
		}
	}))
	p := dial(t, addr)
	if got := p.resp.Header; got.Get("Set-Cookie") != "seen=1" || got.Get("Content-Type") != "" {
		t.Errorf("headers %v", got)
	}
}

func TestBytesAfterTheRequestAreTheFirstFrame(t *testing.T) {
	_, addr := serve(t, Options{}, echo)
	p := dialRaw(t, addr)
	request := "GET /ws HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n\r\n"
	p.write(append([]byte(request), text("early").masked()...))
	var err error
	if p.resp, err = http.ReadResponse(p.r, nil); err != nil {
		t.Fatal(err)
	}
	p.wants("text early")
}

func TestMoreConnectionsThanMaxConnsAreRefused(t *testing.T) {
	s, addr := serve(t, Options{MaxConns: 1}, echo)
	first := dial(t, addr)
	first.send(text("in"))
	first.wants("text in")
	p := dialRaw(t, addr)
	p.shake()
	if p.resp.StatusCode != http.StatusServiceUnavailable || p.resp.Header.Get("Retry-After") == "" {
		t.Errorf("answered %s, %v", p.resp.Status, p.resp.Header)
	}
	if n := s.Stats().Busy.Load(); n != 1 {
		t.Errorf("%d counted as busy", n)
	}
	first.send(closeWith(1000, ""))
	first.wants("close 1000", "EOF")
	first.nc.Close()
	counted(t, "open", func() uint64 { return uint64(s.Stats().Open.Load()) }, 0)
	dial(t, addr)
}

// TestNobodyIsLetInPastMaxConns has all of them past the first check at once.
func TestNobodyIsLetInPastMaxConns(t *testing.T) {
	const clients, most = 20, 3
	var checked sync.WaitGroup
	checked.Add(clients)
	s, err := New(&Options{MaxConns: most})
	if err != nil {
		t.Fatal(err)
	}
	addr := mount(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := s.Check(w, r)
		checked.Done()
		checked.Wait()
		if err != nil {
			return
		}
		if c, err := h.Accept(""); err == nil {
			echo(c)
		}
	}))
	statuses := make(chan int, clients)
	for range clients {
		p := dialRaw(t, addr)
		go func() {
			p.shake()
			statuses <- p.resp.StatusCode
		}()
	}
	got := map[int]int{}
	for range clients {
		got[<-statuses]++
	}
	if got[http.StatusSwitchingProtocols] != most || got[http.StatusServiceUnavailable] != clients-most {
		t.Errorf("answered %v, want %d accepted and the rest 503", got, most)
	}
	if n := s.Stats().Busy.Load(); n != clients-most {
		t.Errorf("%d counted as busy, want %d", n, clients-most)
	}
}
