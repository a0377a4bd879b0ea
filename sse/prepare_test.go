package sse_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestAPreparedServerNoticesDeadPeersAndAllowsManyStreams(t *testing.T) {
	srv := &http.Server{}
	sse.Prepare(srv)
	h2 := srv.HTTP2
	if h2.MaxConcurrentStreams < 250 || h2.SendPingTimeout+h2.PingTimeout > 30*time.Second || h2.SendPingTimeout == 0 || h2.PingTimeout == 0 {
		t.Errorf("got %+v", *h2)
	}
	own := &http.HTTP2Config{MaxConcurrentStreams: 7, PingTimeout: time.Second, MaxReadFrameSize: 1 << 15}
	srv = &http.Server{HTTP2: own}
	sse.Prepare(srv)
	if srv.HTTP2.MaxConcurrentStreams != 7 || srv.HTTP2.PingTimeout != time.Second || srv.HTTP2.MaxReadFrameSize != 1<<15 || own.SendPingTimeout != 0 {
		t.Errorf("what the server said itself became %+v", *srv.HTTP2)
	}
}

func TestAPreparedServerServes(t *testing.T) {
	for _, tls := range []bool{false, true} {
		conns := 0
		srv := httptest.NewUnstartedServer(upgrade(nil, func(c *sse.Conn) { c.Send(sse.Event{Data: "x"}) }))
		srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			conns++
			return ctx
		}
		sse.Prepare(srv.Config)
		if srv.EnableHTTP2 = tls; tls {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		s := &site{t, srv.URL, srv.Client()}
		if got := s.events(s.get("/")); len(got) != 1 {
			t.Errorf("got %+v", got)
		}
		srv.Close()
		if conns == 0 {
			t.Error("the server's own ConnContext was not called")
		}
	}
}

// writes counts what reaches the ResponseWriter at once.
type writes struct {
	*httptest.ResponseRecorder
	all []string
}

func (w *writes) Write(b []byte) (int, error) {
	w.all = append(w.all, string(b))
	return w.ResponseRecorder.Write(b)
}

func TestAnEventIsOneWriteSoThatACrashCannotCutIt(t *testing.T) {
	w := &writes{ResponseRecorder: httptest.NewRecorder()}
	upgrade(nil, func(c *sse.Conn) {
		c.Send(sse.Event{ID: "1", Type: "x", Data: "a\nb\nc", Retry: time.Second, Comment: "d"})
		c.Send(sse.Event{Data: "e"})
	}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if len(w.all) != 3 || w.all[0] != ":\n" || w.all[2] != "data: e\n\n" {
		t.Errorf("got %q, want a comment and two events", w.all)
	}
}
