package sse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// prepared serves over pipes as Prepare says.
func prepared(t *testing.T, h http.Handler) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	sse.Prepare(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(p) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return p
}

func TestAHeadHasItsTime(t *testing.T) {
	const first = "GET / HTTP/1.1\r\nHost: x\r\n"
	for _, tt := range []struct {
		name, at, trickle, status string
		after                     time.Duration
	}{
		{"nothing is sent", "", "", "", 10 * time.Second},
		{"a part of the first line", "GET /ev", "", "HTTP/1.1 400 ", 10 * time.Second},
		{"a header that goes on and on", first + "X-Slow: ", "z", "HTTP/1.1 400 ", 10 * time.Second},
		{"a header too large", first + "X-Large: " + strings.Repeat("z", 80<<10), "", "HTTP/1.1 431 ", 0},
		{"a thousand headers too large", first + strings.Repeat("X-Flood: 12345678901234567890123456789012345678901234567890\r\n", 1500), "", "HTTP/1.1 431 ", 0},
		{"nothing after a first request", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "", "HTTP/1.1 200 ", 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, err := prepared(t, upgrade(nil, idle)).dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				start := time.Now()
				if err := nc.SetDeadline(start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, err := io.WriteString(nc, tt.at)
					for range 60 { // more than it needs
						if err != nil || tt.trickle == "" {
							return
						}
						time.Sleep(time.Second)
						_, err = io.WriteString(nc, tt.trickle)
					}
				}()
				answer, err := io.ReadAll(nc)
				if maybe := tt.status == "HTTP/1.1 400 " && len(answer) == 0; err != nil || !maybe && !strings.HasPrefix(string(answer), tt.status) {
					t.Errorf("answered %.80q, %v, want %q", answer, err, tt.status)
				}
				// After an answer net/http waits half a second, so that it arrives.
				if took := time.Since(start); took < tt.after || took > tt.after+time.Second {
					t.Errorf("it took %v, want %v", took, tt.after)
				}
				nc.Close()
				<-sent
			})
		})
	}
}

func TestABodyThatDoesNotComeHoldsNothing(t *testing.T) {
	for _, tt := range []struct{ name, request, status string }{
		{"of a stream", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 408 "},
		{"of a stream, by GET", "GET / HTTP/1.0\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.0 408 "},
		{"of another site's", "POST / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nContent-Length: 10\r\n\r\n", "HTTP/1.1 403 "},
		{"of another method", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 405 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				edge := &sse.Server{Max: 10}
				nc, err := prepared(t, upgrade(&sse.Options{Server: edge}, idle)).dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				start := time.Now()
				if err := nc.SetDeadline(start.Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(nc, tt.request); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(nc)
				if err != nil || !strings.HasPrefix(string(answer), tt.status) {
					t.Errorf("answered %.80q, %v, want %q", answer, err, tt.status)
				}
				if took := time.Since(start); took > 11*time.Second {
					t.Errorf("the connection was there for %v", took)
				}
				edge.Close(t.Context(), 0)
				s := edge.Stats()
				if s.Open.Load() != 0 || s.Slow.Load()+s.Refused.Load() != 1 {
					t.Errorf("%d open, %d slow, %d refused", s.Open.Load(), s.Slow.Load(), s.Refused.Load())
				}
			})
		})
	}
}

// TestABodyThatWasReadIsNoHindrance is a fetch client that posts what it wants.
func TestABodyThatWasReadIsNoHindrance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prepared(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			c, upgraded := sse.Upgrade(w, r, nil)
			if err := errors.Join(err, upgraded); err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			time.Sleep(time.Minute)
			c.Send(sse.Event{Data: string(body)})
		}))
		nc, err := p.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := sse.NewReader(res.Body, nil).Next(); err != nil || e.Data != "hello" {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}

// TestAHalfCloseIsTheEnd: who closes its side has left, whether or not it would
// still read.
func TestAHalfCloseIsTheEnd(t *testing.T) {
	edge := new(sse.Server)
	srv := httptest.NewServer(upgrade(&sse.Options{Server: edge}, idle))
	defer srv.Close()
	defer edge.Close(context.Background(), 0)
	nc, r, _ := ask(t, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}, "GET / HTTP/1.1")
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("read the rest: %v, want a clean end", err)
	}
	edge.Close(context.Background(), 0)
	if s := edge.Stats(); s.Left.Load() != 1 || s.Open.Load() != 0 {
		t.Errorf("%d counted as left, %d open", s.Left.Load(), s.Open.Load())
	}
}

func TestOfEventsWithAKeyASlowClientGetsTheNewest(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} { // taken over, and left to net/http
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				edge := new(sse.Server)
				p := prepared(t, upgrade(&sse.Options{Server: edge}, func(c *sse.Conn) {
					for i := range 1000 {
						if err := c.PushKey("price", frame(t, fmt.Sprint(i))); err != nil {
							t.Error(err)
						}
					}
					c.Push(frame(t, "done"))
					idle(c)
				}))
				nc, r, header := ask(t, p.dial, "GET / "+version)
				synctest.Wait() // it has not read meanwhile
				var body io.Reader = r
				if header.Get("Transfer-Encoding") == "chunked" {
					body = httputil.NewChunkedReader(r)
				}
				events := sse.NewReader(body, nil)
				var got []string
				for len(got) == 0 || got[len(got)-1] != "done" {
					e, err := events.Next()
					if err != nil {
						t.Fatalf("after %q: %v", got, err)
					}
					got = append(got, e.Data)
				}
				if n := len(got); n > 4 || n < 2 || got[n-2] != "999" {
					t.Errorf("got %q, want the newest and little else", got)
				}
				nc.Close()
				edge.Close(context.WithoutCancel(t.Context()), 0)
			})
		})
	}
}
