package sse_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestHeadersOfAStream(t *testing.T) {
	h := http.NewServeMux()
	h.Handle("/public", upgrade(nil, func(*sse.Conn) {}))
	h.Handle("/private", upgrade(&sse.Options{Private: true}, func(*sse.Conn) {}))
	onBoth(t, h, func(s *site) {
		for path, cache := range map[string]string{"/public": "no-cache, no-transform", "/private": "no-store"} {
			res := s.get(path)
			if res.StatusCode != 200 {
				s.t.Fatalf("got %s", res.Status)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream", "Cache-Control": cache, "X-Accel-Buffering": "no",
				"X-Content-Type-Options": "nosniff", "Content-Length": "", "Content-Encoding": "", "Expire": "",
			} {
				if got := res.Header.Get(name); got != want {
					s.t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
				}
			}
			if res.ContentLength != -1 {
				s.t.Errorf("%s: the length is %d, want none", path, res.ContentLength)
			}
		}
	})
}

func TestConnectionKeepAliveIsForHTTP1Only(t *testing.T) {
	for major, want := range map[int]string{1: "keep-alive", 2: "", 3: ""} {
		rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		req.ProtoMajor = major
		upgrade(nil, func(*sse.Conn) {}).ServeHTTP(rec, req)
		if got := rec.Header().Get("Connection"); got != want {
			t.Errorf("HTTP/%d: Connection: %q, want %q", major, got, want)
		}
	}
}

func TestHeadersAndACommentAreThereBeforeAnyEvent(t *testing.T) {
	onBoth(t, upgrade(nil, idle), func(s *site) {
		res := s.get("/") // comes back although no event is ever sent
		first := make([]byte, 2)
		if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != ":\n" {
			s.t.Errorf("got %q, %v, want a comment line and no blank line", first, err)
		}
		res.Body.Close()
	})
}

func TestHEADAndOPTIONSAreAnswered(t *testing.T) {
	onBoth(t, upgrade(nil, func(*sse.Conn) { t.Error("a stream was opened") }), func(s *site) {
		res := s.do("HEAD", "/")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.ContentLength > 0 {
			s.t.Errorf("HEAD: got %s, %v", res.Status, res.Header)
		}
		if res := s.do("OPTIONS", "/"); res.StatusCode != 204 || !strings.Contains(res.Header.Get("Allow"), "GET") {
			s.t.Errorf("OPTIONS: got %s, %v", res.Status, res.Header)
		}
		if res := s.do("DELETE", "/"); res.StatusCode != 405 || res.Header.Get("Allow") == "" {
			s.t.Errorf("DELETE: got %s, %v", res.Status, res.Header)
		}
		if res := s.do("GET", "/", "Accept", "application/json, text/html;q=0.5"); res.StatusCode != 406 {
			s.t.Errorf("GET for JSON: got %s, want 406", res.Status)
		}
	})
}

func TestFetchClientsMayPOST(t *testing.T) {
	onBoth(t, upgrade(nil, func(c *sse.Conn) { c.Send(sse.Event{Data: "x"}) }), func(s *site) {
		if got := s.events(s.do("POST", "/")); len(got) != 1 || got[0].Data != "x" {
			s.t.Errorf("got %+v", got)
		}
	})
}

func TestEventsAreFlushedOneByOne(t *testing.T) {
	next := make(chan string)
	onBoth(t, upgrade(nil, func(c *sse.Conn) {
		for data := range next {
			if err := c.Send(sse.Event{Data: data}); err != nil {
				t.Error(err)
			}
			if data == "last" {
				return
			}
		}
	}), func(s *site) {
		r := sse.NewReader(s.get("/").Body, nil)
		for _, data := range []string{"a", "b", "last"} {
			next <- data
			if e, err := r.Next(); err != nil || e.Data != data {
				s.t.Fatalf("got %+v, %v, want %s", e, err, data)
			}
		}
	})
}

func TestWholeEventsAreSentHoweverManySend(t *testing.T) {
	onBoth(t, upgrade(nil, func(c *sse.Conn) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 100 {
					if i%2 == 0 {
						c.Send(sse.Event{Data: "a\nb", Type: "x", ID: "1"})
						continue
					}
					b, err := sse.AppendEvent(nil, sse.Event{Data: "a\nb", Type: "x", ID: "1"})
					if err != nil {
						t.Error(err)
					}
					c.Write(b)
				}
			})
		}
		wg.Wait()
	}), func(s *site) {
		all := s.events(s.get("/"))
		if len(all) != 800 {
			s.t.Errorf("got %d events, want 800", len(all))
		}
		for _, e := range all {
			if e != (sse.Event{ID: "1", Type: "x", Data: "a\nb"}) {
				s.t.Fatalf("got %+v", e)
			}
		}
	})
}

func TestAnEventThatCannotBeSentIsNotTheEndOfTheConnection(t *testing.T) {
	rec := httptest.NewRecorder()
	upgrade(nil, func(c *sse.Conn) {
		if err := c.Send(sse.Event{ID: "a\nb", Data: "bad"}); !errors.Is(err, sse.ErrField) {
			t.Errorf("got %v, want ErrField", err)
		}
		if err := c.Send(sse.Event{Data: "good"}); err != nil {
			t.Error(err)
		}
	}).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if got := rec.Body.String(); got != ":\ndata: good\n\n" {
		t.Errorf("got %q", got)
	}
}

func TestAConnectionThatIsClosedSaysSo(t *testing.T) {
	var kept *sse.Conn
	rec := httptest.NewRecorder()
	upgrade(nil, func(c *sse.Conn) { kept = c }).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if err := kept.Send(sse.Event{Data: "late"}); !errors.Is(err, sse.ErrClosed) || kept.Context().Err() == nil {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := kept.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	if got := rec.Body.String(); got != ":\n" {
		t.Errorf("got %q", got)
	}
}

func TestAClientThatLeavesEndsTheContext(t *testing.T) {
	left := make(chan error, 1)
	onBoth(t, upgrade(nil, func(c *sse.Conn) {
		<-c.Context().Done()
		left <- c.Send(sse.Event{Data: "x"})
	}), func(s *site) {
		res := s.get("/")
		if _, err := io.ReadFull(res.Body, make([]byte, 2)); err != nil { // so that it is a stream
			s.t.Fatal(err)
		}
		res.Body.Close()
		if err := <-left; !errors.Is(err, sse.ErrClosed) {
			s.t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

func TestHeartbeatEvery15SecondsOfSilenceFromTheHeadersOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := inBubble(t, upgrade(nil, idle))
		start := time.Now()
		_, r := raw(t, p, "/")
		for _, want := range []time.Duration{0, 15 * time.Second, 30 * time.Second} {
			if line, err := r.ReadString('\n'); err != nil || line != ":\n" || time.Since(start) != want {
				t.Fatalf("got %q after %v, %v, want a comment after %v", line, time.Since(start), err, want)
			}
		}
	})
}

func TestHeartbeatIsResetByTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := inBubble(t, upgrade(&sse.Options{Heartbeat: 10 * time.Second}, func(c *sse.Conn) {
			for range 3 {
				time.Sleep(7 * time.Second)
				c.Send(sse.Event{Data: "x"})
			}
			idle(c)
		}))
		start := time.Now()
		_, r := raw(t, p, "/")
		var got []string
		for len(got) < 8 {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(line)+"@"+time.Since(start).String())
		}
		want := ":@0s data: x@7s @7s data: x@14s @14s data: x@21s @21s :@31s"
		if strings.Join(got, " ") != want {
			t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
		}
	})
}

func TestHeartbeatIsNeverRarerThan15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := inBubble(t, upgrade(&sse.Options{Heartbeat: time.Hour}, idle))
		start := time.Now()
		_, r := raw(t, p, "/")
		if _, err := r.Discard(3); err != nil || time.Since(start) != 15*time.Second {
			t.Errorf("the second comment came after %v, %v", time.Since(start), err)
		}
	})
}

func TestAClientThatDoesNotReadIsClosedAfterTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan error, 1)
		p, _ := inBubble(t, upgrade(&sse.Options{WriteTimeout: 3 * time.Second}, func(c *sse.Conn) {
			var err error
			for err == nil {
				err = c.Send(sse.Event{Data: "x"})
			}
			done <- err
		}))
		_, r := raw(t, p, "/")
		if _, err := r.ReadString('\n'); err != nil { // the first comment, and no more
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-done; !errors.Is(err, sse.ErrSlow) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v, want ErrSlow after 3s", err, time.Since(start))
		}
	})
}

func TestASlowClientIsNoneWhileItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := inBubble(t, upgrade(&sse.Options{WriteTimeout: 3 * time.Second}, func(c *sse.Conn) {
			for range 20 {
				if err := c.Send(sse.Event{Data: "x"}); err != nil {
					t.Error(err)
					return
				}
			}
		}))
		_, r := raw(t, p, "/")
		for {
			if _, err := r.ReadString('\n'); err != nil {
				break
			}
			if _, err := r.Discard(r.Buffered()); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second) // each write has its own deadline
		}
	})
}

func TestAClientThatDoesNotReadIsClosedOnRealSockets(t *testing.T) {
	done := make(chan error, 1)
	big := strings.Repeat("x", 1<<20)
	// HTTP/2 clears a deadline some time after it is told to, so that a short one
	// strikes between two writes on a busy machine.
	onBoth(t, upgrade(&sse.Options{WriteTimeout: time.Second}, func(c *sse.Conn) {
		var err error
		for err == nil {
			err = c.Send(sse.Event{Data: big})
		}
		done <- err
	}), func(s *site) {
		res := s.get("/")
		if err := <-done; !errors.Is(err, sse.ErrSlow) {
			s.t.Errorf("got %v, want ErrSlow", err)
		}
		res.Body.Close()
	})
}

func TestStreamsOutliveTheServersWriteTimeout(t *testing.T) {
	srv := httptest.NewUnstartedServer(upgrade(nil, func(c *sse.Conn) {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for range 5 {
			<-tick.C
			if err := c.Send(sse.Event{Data: "x"}); err != nil {
				t.Error(err)
			}
		}
	}))
	srv.Config.WriteTimeout = 60 * time.Millisecond
	srv.Start()
	defer srv.Close()
	s := &site{t, srv.URL, srv.Client()}
	if got := s.events(s.get("/")); len(got) != 5 {
		t.Errorf("got %d events, want 5", len(got))
	}
}

// logging is middleware as it should be; deaf has no Unwrap.
type logging struct {
	http.ResponseWriter
	status int
}

func (l *logging) WriteHeader(status int) {
	l.status = status
	l.ResponseWriter.WriteHeader(status)
}

func (l *logging) Unwrap() http.ResponseWriter { return l.ResponseWriter }

type deaf struct{ http.ResponseWriter }

// zipping is middleware that flushes through its encoder.
type zipping struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (z *zipping) Write(b []byte) (int, error) { return z.zip.Write(b) }
func (z *zipping) Unwrap() http.ResponseWriter { return z.ResponseWriter }
func (z *zipping) FlushError() error {
	if err := z.zip.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(z.ResponseWriter).Flush()
}

func TestMiddlewareThatUnwrapsOrFlushesIsSeenThrough(t *testing.T) {
	next := make(chan string)
	h := upgrade(nil, func(c *sse.Conn) {
		for data := range next {
			c.Send(sse.Event{Data: data})
			if data == "last" {
				return
			}
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/logging", func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&logging{&logging{w, 0}, 0}, r)
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := &zipping{w, gzip.NewWriter(w)}
		h.ServeHTTP(&logging{z, 0}, r)
		z.zip.Close()
	})
	onBoth(t, mux, func(s *site) {
		for _, path := range []string{"/logging", "/gzip"} {
			r := sse.NewReader(s.get(path).Body, nil) // the client unpacks
			for _, data := range []string{"a", "last"} {
				next <- data
				if e, err := r.Next(); err != nil || e.Data != data {
					s.t.Errorf("%s: got %+v, %v", path, e, err)
				}
			}
		}
	})
}

func TestMiddlewareThatCannotBeFlushedIsAnErrorAtOnce(t *testing.T) {
	var got error
	onBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got = sse.Upgrade(&logging{deaf{w}, 0}, r, nil)
	}), func(s *site) {
		res := s.get("/")
		if res.StatusCode != 500 || got == nil || !strings.Contains(got.Error(), "Unwrap") {
			s.t.Errorf("got %s, %v", res.Status, got)
		}
	})
}

// badFlush fails to flush after a while.
type badFlush struct {
	http.ResponseWriter
	left int
}

func (b *badFlush) FlushError() error {
	if b.left--; b.left < 0 {
		return io.ErrClosedPipe
	}
	return nil
}

func TestAFailedFlushIsAnError(t *testing.T) {
	w := &badFlush{httptest.NewRecorder(), 1}
	c, err := sse.Upgrade(w, httptest.NewRequest("GET", "/", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		if err := c.Send(sse.Event{Data: "x"}); !errors.Is(err, io.ErrClosedPipe) || !errors.Is(err, sse.ErrClosed) {
			t.Errorf("got %v, want the flush's error", err)
		}
	}
	if c.Context().Err() == nil {
		t.Error("the context goes on")
	}
	if _, err := sse.Upgrade(&badFlush{httptest.NewRecorder(), 0}, httptest.NewRequest("GET", "/", nil), nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the first flush: got %v", err)
	}
}

func TestMaxAgeIsGivenOrTakenAFifth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := inBubble(t, upgrade(&sse.Options{MaxAge: 100 * time.Second, Heartbeat: time.Second}, idle))
		ages := map[time.Duration]bool{}
		for range 20 {
			start := time.Now()
			_, r := raw(t, p, "/")
			last := lastLine(t, r)
			age := time.Since(start)
			ages[age] = true
			if age < 80*time.Second || age > 120*time.Second || !strings.HasPrefix(last, "retry: ") {
				t.Errorf("closed after %v with %q, want 80 to 120 s and a retry", age, last)
			}
		}
		if len(ages) < 2 {
			t.Error("all ages are the same")
		}
	})
}

func TestUntilClosesCleanlyBeforeTheClientIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &sse.Options{MaxAge: time.Hour, Until: time.Now().Add(5 * time.Second)}
		p, _ := inBubble(t, upgrade(opts, idle))
		start := time.Now()
		_, r := raw(t, p, "/")
		if last := lastLine(t, r); !strings.HasPrefix(last, "retry: ") || time.Since(start) != 5*time.Second {
			t.Errorf("closed after %v with %q", time.Since(start), last)
		}
		start = time.Now() // it is over already
		_, r = raw(t, p, "/")
		if last := lastLine(t, r); !strings.HasPrefix(last, "retry: ") || time.Since(start) != 0 {
			t.Errorf("closed after %v with %q", time.Since(start), last)
		}
	})
}

// lastLine reads to a clean end.
func lastLine(t *testing.T, r *bufio.Reader) (last string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return last
		}
		if err != nil {
			t.Fatalf("got %q, %v", line, err)
		}
		last = line
	}
}

func TestEveryAttachIsAuthorised(t *testing.T) {
	allowed := true
	opts := &sse.Options{Authorize: func(r *http.Request) error {
		switch {
		case r.URL.Query().Get("busy") != "":
			return sse.ErrBusy
		case !allowed:
			return errors.New("secret reason")
		}
		return nil
	}}
	onBoth(t, upgrade(opts, func(*sse.Conn) {}), func(s *site) {
		allowed = true
		if res := s.get("/"); res.StatusCode != 200 {
			s.t.Errorf("got %s", res.Status)
		}
		allowed = false
		res := s.get("/")
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != 403 || err != nil || strings.Contains(string(text), "secret") {
			s.t.Errorf("got %s, %q, want 403", res.Status, text)
		}
		res = s.get("/?busy=1")
		text, err = io.ReadAll(res.Body)
		if res.StatusCode != 200 || err != nil || !strings.HasPrefix(string(text), "retry: ") {
			s.t.Errorf("busy: got %s, %q, want 200 and retry", res.Status, text)
		}
	})
}

func TestUpgradeEndsWithTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	if c, err := sse.Upgrade(httptest.NewRecorder(), req, nil); !errors.Is(err, sse.ErrClosed) {
		t.Errorf("got %v, %v, want ErrClosed", c, err)
	}
}
