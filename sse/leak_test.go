package sse_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// files is how many file descriptors this process has open; 0 where the system
// does not tell.
func files() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

func TestThousandsComeAndGoAndNothingIsLeft(t *testing.T) {
	edge := new(sse.Server)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wrapped" {
			w = &logging{w, 0} // so that it is left to net/http
		}
		c, err := sse.Upgrade(w, r, &sse.Options{Server: edge})
		if err != nil {
			return
		}
		if r.URL.Path == "/ends" {
			defer c.Close()
			c.Send(sse.Event{Data: "bye"})
			return
		}
		c.Push(frame(t, "hello"))
		c.Stay(nil)
	}))
	defer srv.Close()
	before := files()
	const open = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	const wrapped = "GET /wrapped HTTP/1.1\r\nHost: x\r\n\r\n"
	read := func(nc net.Conn) { // up to its first event
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err == nil {
			_, err = sse.NewReader(res.Body, nil).Next()
		}
		if err != nil {
			t.Error(err)
		}
	}
	ways := []struct {
		say  string
		then func(nc net.Conn)
	}{
		{open, read},
		{wrapped, read},
		{open, func(nc net.Conn) { read(nc); _ = nc.(*net.TCPConn).SetLinger(0) }}, // a reset
		{wrapped, func(nc net.Conn) { read(nc); _ = nc.(*net.TCPConn).SetLinger(0) }},
		{open, func(nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite(); _, _ = io.ReadAll(nc) }},
		{open, func(nc net.Conn) {}}, // goes before it is answered
		{"GET /ends HTTP/1.1\r\nHost: x\r\n\r\n", func(nc net.Conn) { _, _ = io.ReadAll(nc) }},
		{"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n", func(nc net.Conn) {}},
		{"GET / HTTP/1.1\r\nHost: ", func(nc net.Conn) {}},
		{"", func(nc net.Conn) {}},
	}
	const clients, atOnce = 2000, 50
	var running sync.WaitGroup
	seats := make(chan struct{}, atOnce)
	for i := range clients {
		seats <- struct{}{}
		running.Go(func() {
			defer func() { <-seats }()
			nc, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second)) // it is open
			way := ways[i%len(ways)]
			if _, err := io.WriteString(nc, way.say); err != nil {
				t.Error(err)
			}
			way.then(nc)
		})
	}
	running.Wait()
	s := edge.Stats()
	for end := time.Now().Add(20 * time.Second); s.Open.Load() > 0 || edge.Len() > 0 || files() > before; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are counted as open, %d are there; %d files are open, %d were", s.Open.Load(), edge.Len(), files(), before)
		}
	}
	closed := s.Ended.Load() + s.Left.Load() + s.Slow.Load() + s.Failed.Load() + s.Drained.Load() + s.Expired.Load()
	if closed != s.Opened.Load() || closed < clients*6/10 || closed > clients*7/10 {
		t.Errorf("%d were opened, %d closed; want the same, of %d clients six or seven of ten", s.Opened.Load(), closed, clients)
	}
	edge.Close(context.Background(), 0)
}

// A request that has ended already must not meet a connection that has not
// begun: nobody recovers the panic of a goroutine of its context.
func TestARequestThatHasEndedAlready(t *testing.T) {
	edge := &sse.Server{}
	ended, end := context.WithCancel(t.Context())
	end()
	dial := edgeOf(t, edge, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrade(&sse.Options{Server: edge}, idle).ServeHTTP(w, r.WithContext(ended))
	}))
	for range 300 {
		nc, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, nc) // until the server closes it
		nc.Close()
	}
}
