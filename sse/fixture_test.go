package sse_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/rhubarb-go/rhubarb/sse"
)

// site is a server and a client of it.
type site struct {
	t      *testing.T
	url    string
	client *http.Client
}

// takeOver is the key of a *sse.Server in the context of requests that it is to
// take over.
type takeOver struct{}

// withServer adds the server of the test, if it has one.
func withServer(r *http.Request, opts *sse.Options) *sse.Options {
	var o sse.Options
	if opts != nil {
		o = *opts
	}
	if s, ok := r.Context().Value(takeOver{}).(*sse.Server); ok && o.Server == nil {
		o.Server = s
	}
	return &o
}

// onBoth runs a test against real servers, over HTTP/1.1 and HTTP/2, and over
// HTTP/1.1 taken over.
func onBoth(t *testing.T, h http.Handler, test func(s *site)) {
	t.Helper()
	t.Run("taken over", func(t *testing.T) {
		srv, edge := httptest.NewUnstartedServer(h), new(sse.Server)
		srv.Config.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), takeOver{}, edge) }
		srv.Start()
		t.Cleanup(func() { // when the bodies are closed
			srv.Close()
			edge.Close(context.Background(), 0)
			if n := edge.Stats().Open.Load(); n != 0 {
				t.Errorf("%d are counted as open", n)
			}
		})
		test(&site{t, srv.URL, srv.Client()})
	})
	t.Run("HTTP/1.1", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&logging{w, 0}, r) // a middleware, so that it is left to net/http
		}))
		defer srv.Close()
		test(&site{t, srv.URL, srv.Client()})
	})
	t.Run("HTTP/2", func(t *testing.T) {
		srv := httptest.NewUnstartedServer(h)
		srv.EnableHTTP2 = true
		srv.StartTLS()
		defer srv.Close()
		test(&site{t, srv.URL, srv.Client()})
	})
}

// do makes a request; headers come in pairs.
func (s *site) do(method, path string, headers ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	s.t.Cleanup(cancel)
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body = &body{res.Body, cancel}
	s.t.Cleanup(func() { res.Body.Close() })
	return res
}

// body cuts the connection when it is closed, as a browser does.
type body struct {
	io.ReadCloser
	cut context.CancelFunc
}

func (b *body) Close() error {
	b.cut()
	return b.ReadCloser.Close()
}

func (s *site) get(path string, headers ...string) *http.Response {
	s.t.Helper()
	return s.do(http.MethodGet, path, append([]string{"Accept", "text/event-stream"}, headers...)...)
}

// events reads a response to its end.
func (s *site) events(res *http.Response) []sse.Event {
	s.t.Helper()
	return parse(s.t, sse.NewReader(res.Body, nil))
}

// upgrade is a handler that has nothing to do but the connection.
func upgrade(opts *sse.Options, use func(c *sse.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, withServer(r, opts))
		if err != nil {
			return
		}
		defer c.Close()
		use(c)
	})
}

// idle keeps the connection until the client leaves or it is closed.
func idle(c *sse.Conn) { <-c.Context().Done() }

// pipes is a listener whose connections are made by net.Pipe, so that servers
// run in a bubble of testing/synctest.
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

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, errors.New("the server is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inBubble serves over pipes until the test ends.
func inBubble(t *testing.T, h http.Handler) (*pipes, *http.Client) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: h}
	served := make(chan error)
	go func() { served <- srv.Serve(p) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx) }}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p, &http.Client{Transport: tr}
}

// raw sends a request and returns what answers it, byte for byte, after the
// response's header.
func raw(t *testing.T, p *pipes, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, r, _ := ask(t, p.dial, "GET "+path+" HTTP/1.0")
	return conn, r
}

// ask sends a request and returns what answers it after the response's head.
func ask(t *testing.T, dial func(context.Context) (net.Conn, error), line string) (net.Conn, *bufio.Reader, http.Header) {
	t.Helper()
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, line+"\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	head := textproto.NewReader(r)
	status, err := head.ReadLine()
	if err != nil || !strings.HasSuffix(status, " 200 OK") {
		t.Fatalf("answered %q, %v", status, err)
	}
	header, err := head.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return conn, r, http.Header(header)
}

// recorder makes a request without a server; headers come in pairs.
func recorder(method, path string, headers ...string) (*httptest.ResponseRecorder, *http.Request) {
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return httptest.NewRecorder(), req
}
