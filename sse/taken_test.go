package sse_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// edgeOf is a server that takes connections over, and a way to dial it.
func edgeOf(t *testing.T, edge *sse.Server, h http.Handler) func(context.Context) (net.Conn, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.Close()
		edge.Close(context.Background(), 0)
	})
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}
}

func frame(t *testing.T, data string) sse.Frame {
	t.Helper()
	f, err := sse.NewFrame(sse.Event{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBytesOfAConnectionThatIsTakenOver(t *testing.T) {
	edge := &sse.Server{}
	dial := edgeOf(t, edge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Of-Others", "kept")
		upgrade(&sse.Options{Server: edge}, func(c *sse.Conn) {
			c.Send(sse.Event{ID: "1", Data: "a"})
			c.Push(frame(t, "b"))
		}).ServeHTTP(w, r)
	}))
	_, r, header := ask(t, dial, "GET / HTTP/1.1")
	for name, want := range map[string]string{
		"Connection": "close", "Transfer-Encoding": "chunked", "X-Of-Others": "kept", "Content-Type": "text/event-stream",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if _, err := http.ParseTime(header.Get("Date")); err != nil {
		t.Error(err)
	}
	want := "2\r\n:\n\r\n" + "f\r\nid: 1\ndata: a\n\n\r\n" + "9\r\ndata: b\n\n\r\n" + "0\r\n\r\n"
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Errorf("got  %q, %v\nwant %q", got, err, want)
	}
}

func TestWhatIsNotTakenOver(t *testing.T) {
	edge := &sse.Server{}
	h := upgrade(&sse.Options{Server: edge}, func(*sse.Conn) {})
	dial := edgeOf(t, edge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gzip" {
			w.Header().Set("Content-Encoding", "gzip")
		}
		h.ServeHTTP(w, r)
	}))
	for _, line := range []string{"GET / HTTP/1.0", "POST / HTTP/1.1", "GET /gzip HTTP/1.1"} {
		if _, _, header := ask(t, dial, line); header.Get("Connection") == "close" {
			t.Errorf("%s was taken over", line)
		}
	}
}

func TestHeartbeatsOfAConnectionThatIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edge := &sse.Server{}
		p, _ := inBubble(t, upgrade(&sse.Options{Server: edge}, func(c *sse.Conn) {
			time.Sleep(40 * time.Second)
			c.Send(sse.Event{Data: "x"})
			idle(c)
		}))
		conn, r, _ := ask(t, p.dial, "GET / HTTP/1.1")
		last := time.Now()
		for _, want := range []string{":", ":", ":", "data: x", ":"} {
			line := chunkLine(t, r)
			silent := time.Since(last)
			if last = time.Now(); line != want || silent > 15*time.Second || want == ":" && silent > 0 && silent < 14*time.Second {
				t.Errorf("got %q after %v, want %q after at most 15s", line, silent, want)
			}
		}
		conn.Close()
		edge.Close(t.Context(), 0)
	})
}

// chunkLine reads the first line of a chunk.
func chunkLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for end := ""; end != "\r\n"; {
		if end, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(line)
}

func TestWhatIsPushedArrivesAfterTheHandlerHasLeftIt(t *testing.T) {
	conns, ended := make(chan *sse.Conn), make(chan error, 1)
	onBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, withServer(r, nil))
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
		c.Stay(func(cause error) { ended <- cause })
	}), func(s *site) {
		go func() {
			c := <-conns
			for _, data := range []string{"a", "b", "c"} {
				if err := c.Push(frame(s.t, data)); err != nil {
					s.t.Error(err)
				}
			}
			if err := c.Flush(s.t.Context()); err != nil {
				s.t.Error(err)
			}
			conns <- c
		}()
		r := sse.NewReader(s.get("/").Body, nil)
		for _, want := range []string{"a", "b", "c"} {
			if e, err := r.Next(); err != nil || e.Data != want {
				s.t.Fatalf("got %+v, %v, want %s", e, err, want)
			}
		}
		c := <-conns
		c.Cancel()
		if e, err := r.Next(); err != io.EOF {
			s.t.Errorf("got %+v, %v, want a clean end", e, err)
		}
		s.client.CloseIdleConnections()
		if err := <-ended; !errors.Is(err, sse.ErrClosed) {
			s.t.Errorf("ended with %v", err)
		}
		late := make(chan error, 1)
		if c.Stay(func(cause error) { late <- cause }); !errors.Is(<-late, sse.ErrClosed) {
			s.t.Error("a late Stay is not told of the end")
		}
		if err := c.Push(frame(s.t, "late")); !errors.Is(err, sse.ErrClosed) {
			s.t.Errorf("a late push: %v", err)
		}
	})
}

func TestPushingNeverWaitsAndWhoDoesNotReadIsClosed(t *testing.T) {
	big := frame(t, strings.Repeat("x", 64<<10))
	connected, pushed := make(chan bool), make(chan int, 1)
	onBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, withServer(r, nil))
		if err != nil {
			t.Error(err)
			return
		}
		n := 0
		<-connected
		for err == nil && n < 1<<20 {
			err = c.Push(big)
			n++
		}
		if !errors.Is(err, sse.ErrSlow) {
			t.Errorf("after %d frames: %v, want ErrSlow", n, err)
		}
		c.Stay(func(cause error) {
			if !errors.Is(cause, sse.ErrSlow) {
				t.Errorf("ended with %v, want ErrSlow", cause)
			}
			pushed <- n
		})
	}), func(s *site) {
		s.get("/")
		connected <- true
		if n := <-pushed; n*len(big) > 64<<20 { // what the kernel and HTTP/2 hold comes on top of 1 MiB
			s.t.Errorf("%d frames waited", n)
		}
	})
}

func TestAHandlerThatForgetsItsConnectionEndsIt(t *testing.T) {
	edge := &sse.Server{}
	dial := edgeOf(t, edge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := sse.Upgrade(w, r, &sse.Options{Server: edge}); err != nil {
			t.Error(err)
		}
	}))
	_, r, _ := ask(t, dial, "GET / HTTP/1.1")
	if got, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(got), "0\r\n\r\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAClientThatTalksIsClosed(t *testing.T) {
	edge := &sse.Server{}
	dial := edgeOf(t, edge, upgrade(&sse.Options{Server: edge}, idle))
	conn, r, _ := ask(t, dial, "GET / HTTP/1.1")
	go io.Copy(conn, strings.NewReader(strings.Repeat("x", 1<<20))) // which fails when it is closed
	if _, err := io.Copy(io.Discard, r); err == nil {               // a reset is fine, for it was not asked
		t.Log("it was closed cleanly")
	}
	edge.Close(t.Context(), 0)
	if n := edge.Stats().Left.Load(); n != 1 {
		t.Errorf("%d are counted as gone, want 1", n)
	}
}

func TestCloseDropsWhoDoesNotReadWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		edge := &sse.Server{}
		p, _ := inBubble(t, upgrade(&sse.Options{Server: edge, WriteTimeout: time.Hour}, func(c *sse.Conn) {
			for c.Send(sse.Event{Data: strings.Repeat("x", 1000)}) == nil {
			}
		}))
		ask(t, p.dial, "GET / HTTP/1.1")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if edge.Close(ctx, time.Second); time.Since(start) != 5*time.Second {
			t.Errorf("took %v, want 5s", time.Since(start))
		}
		if n := edge.Stats().Drained.Load(); n != 1 || edge.Len() != 0 {
			t.Errorf("%d are counted as drained, %d are open", n, edge.Len())
		}
	})
}
