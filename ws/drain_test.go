package ws

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The closes of a drain are not a burst: in an hour's grace there is time to
// stop after the first.
func TestADrainTakesItsTime(t *testing.T) {
	s, addr := serve(t, Options{}, echo)
	const n = 5
	said := make(chan string, n)
	for range n {
		p := dial(t, addr)
		p.send(text("in"))
		p.wants("text in")
		go func() { said <- p.said() }()
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.Drain(ctx, time.Hour)
	}()
	if first := <-said; !strings.HasPrefix(first, "close 1012 service restart; retry=") {
		t.Errorf("the first was told %q", first)
	}
	stop()
	for range n - 1 {
		if next := <-said; strings.HasPrefix(next, "close 1012") {
			t.Errorf("another was told %q at once", next)
		}
	}
	<-drained
}

// A handshake that a drain overtakes is answered like one that comes too late.
func TestADrainOvertakesAHandshake(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := s.Check(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		s.Drain(r.Context(), 0)
		if _, err := h.Accept(""); err == nil {
			t.Error("it was accepted")
		}
	}))
	defer srv.Close()
	p := dialRaw(t, strings.TrimPrefix(srv.URL, "http://"))
	p.shake()
	if p.resp.StatusCode != http.StatusServiceUnavailable || p.resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s, %v, want 503 and when to try again", p.resp.Status, p.resp.Header)
	}
}
