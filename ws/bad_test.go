package ws

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
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

// inBubble serves a server and returns how to connect to it.
func inBubble(t *testing.T, opts Options, handle func(*Conn)) (s *Server, connect func() net.Conn) {
	t.Helper()
	s, err := New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := s.Accept(w, r); err == nil {
			handle(c)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(p) }()
	t.Cleanup(func() {
		s.Close()
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s, func() net.Conn {
		here, there := net.Pipe()
		p.conns <- there
		t.Cleanup(func() { here.Close() })
		return here
	}
}

// hears collects what the server says, until the end, and when that was.
func hears(p *peer) <-chan string {
	heard := make(chan string, 100)
	go func() {
		defer close(heard)
		for said := ""; said != "EOF" && !strings.HasSuffix(said, "closed pipe"); heard <- said {
			if said = p.said(); strings.HasPrefix(said, "ping ") {
				p.send(pong(""))
			}
		}
	}()
	return heard
}

func TestAMessageHasItsTime(t *testing.T) {
	whole := text(strings.Repeat("*", 1000)).masked()
	for name, trickle := range map[string]func(p *peer, i int){
		"a frame, byte by byte":      func(p *peer, i int) { p.write(whole[i : i+1]) },
		"fragments, one by one":      func(p *peer, i int) { p.send(frame{[]byte{opText, opContinuation}[min(i, 1)], "*"}) },
		"a control frame's bytes":    func(p *peer, i int) { p.write(ping(strings.Repeat("*", 100)).masked()[i : i+1]) },
		"fragments with pings in it": func(p *peer, i int) { p.send(frame{[]byte{opText, opContinuation}[min(i, 1)], "*"}, pong("")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, connect := inBubble(t, Options{}, echo)
				p := newPeer(t, connect())
				p.shake()
				heard := hears(p)
				start := time.Now()
				var trickling sync.WaitGroup
				defer trickling.Wait()
				trickling.Go(func() {
					for i := 0; i < 100 && s.Stats().Open.Load() > 0; i++ {
						trickle(p, i)
						time.Sleep(time.Second)
					}
					p.nc.Close() // should it still be open, that is enough
				})
				said := <-heard
				for strings.HasPrefix(said, "ping") || strings.HasPrefix(said, "pong") {
					said = <-heard
				}
				if said != "close 1008 a message took longer than 1m0s" {
					t.Errorf("the server said %q", said)
				}
				if took := time.Since(start); took < time.Minute || took > time.Minute+time.Second {
					t.Errorf("closed after %v, want a minute", took)
				}
				for range heard {
				}
				synctest.Wait()
				if n := s.Stats().Closed(Late); n != 1 {
					t.Errorf("%d counted as late, want 1", n)
				}
			})
		})
	}
}

func TestAMessageThatIsSlowAndInTimeIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, connect := inBubble(t, Options{}, echo)
		p := newPeer(t, connect())
		p.shake()
		heard := hears(p)
		payload := strings.Repeat("*", 55)
		for range 3 { // each has a minute of its own
			for _, b := range text(payload).masked() { // a client cannot answer a ping meanwhile
				p.write([]byte{b})
				time.Sleep(900 * time.Millisecond)
			}
			if said := <-heard; said != "text "+payload {
				t.Fatalf("the server said %q", said)
			}
		}
		time.Sleep(10 * time.Minute) // idle, it is pinged and stays
		if n := s.Stats().Open.Load(); n != 1 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestWhoGoesSilentInAFrameIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, connect := inBubble(t, Options{}, echo)
		p := newPeer(t, connect())
		p.shake()
		p.write(text("never ends").masked()[:9])
		start := time.Now()
		p.wants("ping ", "EOF")
		if took := time.Since(start); took < 35*time.Second || took > 36*time.Second {
			t.Errorf("dropped after %v, want 35 s", took)
		}
		synctest.Wait()
		if n := s.Stats().Closed(Silent); n != 1 {
			t.Errorf("%d counted as silent, want 1", n)
		}
	})
}

// flood writes a thousand messages once the client has said something.
func flood(key string) func(*Conn) {
	return func(c *Conn) {
		_, err := c.Read()
		for i := range 1000 {
			err = errors.Join(err, c.Write(channels.Message{Text: true, Data: fmt.Appendf(nil, "price %d", i), Key: key}))
		}
		if err == nil {
			echo(c)
		}
	}
}

func TestOfMessagesWithAKeyASlowClientGetsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, connect := inBubble(t, Options{Queue: 4 << 10}, flood("price"))
		p := newPeer(t, connect())
		p.shake()
		p.send(text("go"))
		synctest.Wait() // it has not read meanwhile
		var said string
		for conflated := s.Stats().Conflated(); conflated < 1000; conflated++ {
			said = p.said()
		}
		if n := s.Stats().Conflated(); said != "text price 999" || n < 900 {
			t.Errorf("after %d messages were replaced the last is %q, want price 999", n, said)
		}
		p.send(text("still here"))
		p.wants("text still here")
	})
}

func TestMessagesAreDroppedAndNotTheClientIfSoWished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, connect := inBubble(t, Options{Queue: 1000, DropMessages: true}, flood("price"))
		p := newPeer(t, connect())
		p.shake()
		p.send(text("go"))
		synctest.Wait()
		dropped := s.Stats().Dropped()
		for range 1000 - int(dropped) {
			p.wants("text price …")
		}
		if dropped < 900 || s.Stats().Closed(Slow) != 0 {
			t.Errorf("%d messages were dropped and %d clients, want most and none", dropped, s.Stats().Closed(Slow))
		}
		p.send(text("still here"))
		p.wants("text still here")
	})
}
