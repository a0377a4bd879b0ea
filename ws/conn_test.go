package ws

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
)

// mount serves a handler until the test ends.
func mount(t testing.TB, s *Server, h http.Handler) (addr string) {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	t.Cleanup(s.Close)
	return web.Listener.Addr().String()
}

func TestWhatBreaksTheProtocolIsCounted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		raw   []byte
		code  string
		cause Cause
	}{
		{"a frame that is not masked", appendFrame(nil, opText, []byte("hi")), "close 1002 a frame is not masked", Broken},
		{"a length with its top bit", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, "close 1002 a length has its top bit set", Broken},
		{"a length that could be shorter", []byte{0x82, 0xfe, 0, 5, 0, 0, 0, 0}, "close 1002 a length is not written in its shortest form", Broken},
		{"a 64-bit length that could be shorter", []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, "close 1002 a length is not written in its shortest form", Broken},
		{"an exabyte, before it is sent", []byte{0x82, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, "close 1009 messages have at most 1000 bytes", TooBig},
		{"a reserved bit", frame{bitFin | 0x20 | opText, "hi"}.masked(), "close 1002 a reserved bit is set", Broken},
		{"an opcode that is none", frame{bitFin | 0x3, ""}.masked(), "close 1002 an opcode is unknown", Broken},
		{"a huge ping", ping(strings.Repeat("*", 126)).masked(), "close 1002 a control frame is longer than 125 bytes", Broken},
		{"a ping of an exabyte", []byte{0x89, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, "close 1002 a control frame is longer than 125 bytes", Broken},
		{"a ping in fragments", frame{opPing, "a"}.masked(), "close 1002 a control frame is fragmented", Broken},
		{"a continuation of nothing", last("more").masked(), "close 1002 a continuation continues nothing", Broken},
		{"a message in a message", append(begin("a").masked(), text("b").masked()...), "close 1002 a message begins inside another one", Broken},
		{"a close frame with half a code", closing("a").masked(), "close 1002 a close frame has half a code", Broken},
		{"a close code that is never sent", closeWith(1015, "").masked(), "close 1002 a close code is not valid", Broken},
		{"a close reason that is not UTF-8", closeWith(1000, "\xff").masked(), "close 1007 a close reason is not UTF-8", Invalid},
		{"another request, as if it were HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "close 1002 a reserved bit is set", Broken},
		{"a message too long", text(strings.Repeat("*", 1001)).masked(), "close 1009 messages have at most 1000 bytes", TooBig},
		{"fragments too long together", append(begin(strings.Repeat("*", 600)).masked(), last(strings.Repeat("*", 401)).masked()...), "close 1009 messages have at most 1000 bytes", TooBig},
		{"text that is not UTF-8", text("\xff").masked(), "close 1007 text is not UTF-8", Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, addr := serve(t, Options{MaxMessage: 1000}, echo)
			p := dial(t, addr)
			p.write(tt.raw)
			p.wants(tt.code, "EOF")
			p.nc.Close()
			counted(t, "closed", func() uint64 { return s.Stats().Closed(tt.cause) }, 1)
		})
	}
}

func TestFragmentsWithoutEndAreTooMany(t *testing.T) {
	s, addr := serve(t, Options{MaxMessage: 1000}, echo)
	p := dial(t, addr)
	go func() {
		p.send(begin(""))
		for range 2000 {
			p.send(more(""))
		}
	}()
	p.wants("close 1009 a message has too many fragments", "EOF")
	p.nc.Close()
	counted(t, "closed as too big", func() uint64 { return s.Stats().Closed(TooBig) }, 1)
}

func TestAClientThatPingsAndDoesNotReadIsDropped(t *testing.T) {
	s, addr := serve(t, Options{Queue: 64 << 10}, echo)
	p := dial(t, addr)
	_ = p.nc.(*net.TCPConn).SetReadBuffer(4 << 10) // so that the pongs do not go into it
	many := bytes.Repeat(ping(strings.Repeat("*", 125)).masked(), 100)
	for s.Stats().Closed(Slow) == 0 {
		if _, err := p.nc.Write(many); err != nil {
			break
		}
	}
	counted(t, "closed as slow", func() uint64 { return s.Stats().Closed(Slow) }, 1)
}

func TestTheConsumerHearsHowItEnded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(p *peer)
		want  channels.Closed
		cause Cause
	}{
		{"with a code and a reason", func(p *peer) { p.send(closeWith(4001, "bye")) }, channels.Closed{Code: 4001, Reason: "bye"}, ByClient},
		{"without a code", func(p *peer) { p.send(closing("")) }, channels.Closed{Code: CloseNoStatus}, ByClient},
		{"without a word", func(p *peer) { p.nc.Close() }, channels.Closed{Code: CloseAbnormal}, Gone},
		{"with a reset", func(p *peer) { _ = p.nc.(*net.TCPConn).SetLinger(0); p.nc.Close() }, channels.Closed{Code: CloseAbnormal}, Gone},
		{"in the middle of a frame", func(p *peer) { p.write(text("whole").masked()[:8]); p.nc.Close() }, channels.Closed{Code: CloseAbnormal}, Gone},
		{"with a broken frame", func(p *peer) { p.write([]byte{0x83, 0x80}) }, channels.Closed{Code: CloseProtocol, Reason: "an opcode is unknown"}, Broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			over := make(chan error, 1)
			s, addr := serve(t, Options{}, func(c *Conn) {
				_, err := c.Read()
				_, again := c.Read()
				if !errors.Is(again, err) {
					t.Errorf("first %v, then %v", err, again)
				}
				over <- err
			})
			p := dial(t, addr)
			tt.do(p)
			p.nc.Close()
			var closed *channels.Closed
			if err := <-over; !errors.As(err, &closed) || *closed != tt.want {
				t.Errorf("got %v, want %v", err, &tt.want)
			}
			counted(t, "closed", func() uint64 { return s.Stats().Closed(tt.cause) }, 1)
		})
	}
}

func TestTheServerCloses(t *testing.T) {
	read := make(chan error, 1)
	s, addr := serve(t, Options{}, func(c *Conn) {
		if err := errors.Join(c.Write(message("last")), c.Close(4000, strings.Repeat("ü", 62)), c.Close(4001, "too late")); err != nil {
			t.Error(err)
		}
		if err := c.Write(message("more")); !errors.Is(err, ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		_, err := c.Read()
		read <- err
	})
	p := dial(t, addr)
	p.wants("text last", "close 4000 "+strings.Repeat("ü", 61))
	p.send(text("not handled any more"), closeWith(4000, ""))
	p.wants("EOF")
	var closed *channels.Closed
	if err := <-read; !errors.As(err, &closed) || closed.Code != 4000 {
		t.Errorf("the reader got %v", err)
	}
	counted(t, "closed by the server", func() uint64 { return s.Stats().Closed(ByServer) }, 1)
}

func TestCodesAndTextsThatCannotBeSent(t *testing.T) {
	_, addr := serve(t, Options{}, func(c *Conn) {
		for _, code := range []int{0, 999, 1005, 1006, 1015, 5000} {
			if err := c.Close(code, ""); err == nil || !strings.Contains(err.Error(), "no code to be sent") {
				t.Errorf("close with %d: %v", code, err)
			}
		}
		if err := c.Close(1000, "\xff"); err == nil {
			t.Error("a reason that is not UTF-8 was taken")
		}
		if err := c.Write(message("\xff")); err == nil || errors.Is(err, ErrClosed) {
			t.Errorf("a text that is not UTF-8: %v", err)
		}
		if err := c.Write(message("fine")); err != nil {
			t.Error(err)
		}
		echo(c)
	})
	dial(t, addr).wants("text fine")
}

func TestAClientThatDoesNotReadIsDropped(t *testing.T) {
	block := strings.Repeat("*", 64<<10)
	done := make(chan error, 1)
	s, addr := serve(t, Options{Queue: 256 << 10, WriteTimeout: time.Minute}, func(c *Conn) {
		_, err := c.Read()
		for err == nil { // it never waits
			err = c.Write(message(block))
		}
		done <- err
		echo(c)
	})
	dial(t, addr).send(text("go")) // and never reads
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("writing ended with %v", err)
	}
	counted(t, "closed as slow", func() uint64 { return s.Stats().Closed(Slow) }, 1)
}

func TestSilenceIsPingedThenDropped(t *testing.T) {
	s, addr := serve(t, Options{Ping: 50 * time.Millisecond, PingTimeout: 300 * time.Millisecond}, echo)
	answering, silent := dial(t, addr), dial(t, addr)
	heard := make(chan string, 1)
	go func() { // until it hears something else
		said := "ping "
		for ; said == "ping "; said = answering.said() {
			answering.send(pong(""))
		}
		heard <- said
	}()
	silent.wants("ping ")
	for said := ""; said != "EOF" && !strings.Contains(said, "reset"); said = silent.said() {
	}
	counted(t, "closed as silent", func() uint64 { return s.Stats().Closed(Silent) }, 1)
	answering.send(text("still here"))
	if said := <-heard; said != "text still here" {
		t.Errorf("the one that answers heard %q", said)
	}
}

func TestDrainSendsEverybodyAway(t *testing.T) {
	s, addr := serve(t, Options{}, echo)
	const n = 20
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, addr)
		peers[i].send(text("in"))
		peers[i].wants("text in")
	}
	var spread atomic.Int32
	hints := make(chan string, n)
	for _, p := range peers {
		go func() {
			said := p.said()
			spread.Add(1)
			p.send(closeWith(1012, ""))
			hints <- said
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.Drain(ctx, 200*time.Millisecond)
	seen := map[string]bool{}
	for range n {
		said := <-hints
		if !strings.HasPrefix(said, "close 1012 service restart; retry=1") {
			t.Errorf("a client was told %q", said)
		}
		seen[said] = true
	}
	if len(seen) < 3 {
		t.Errorf("all were told the same: %v", seen)
	}
	if got := s.Stats().Closed(Drained); got != n {
		t.Errorf("%d counted as drained, want %d", got, n)
	}
	p := dialRaw(t, addr)
	p.shake()
	if p.resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after the drain a handshake is answered %s", p.resp.Status)
	}
}

func TestADrainDoesNotWaitForThoseWhoDoNotAnswer(t *testing.T) {
	s, addr := serve(t, Options{}, echo)
	p := dial(t, addr)
	p.send(text("in"))
	p.wants("text in")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.Drain(ctx, time.Millisecond)
	p.wants("close 1012…")
	if n := s.Stats().Open.Load(); n != 0 {
		t.Errorf("%d connections are open after the drain", n)
	}
}

func TestOverTLS(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := s.Accept(w, r); err == nil {
			echo(c)
		}
	}))
	t.Cleanup(web.Close)
	t.Cleanup(s.Close)
	transport := web.Client().Transport.(*http.Transport).Clone()
	p := dialTLS(t, web.Listener.Addr().String(), transport.TLSClientConfig)
	p.shake()
	long := strings.Repeat("*", 50<<10)
	p.send(text("hello"), text(long))
	p.wants("text hello", "text "+long)
	p.send(closeWith(1000, ""))
	p.wants("close 1000", "EOF")
}

func FuzzReader(f *testing.F) {
	f.Add(text("hello").masked(), uint8(3), false)
	f.Add(append(begin("a").masked(), append(ping("b").masked(), last("c").masked()...)...), uint8(1), false)
	f.Add(closeWith(1000, "bye").masked(), uint8(200), true)
	f.Fuzz(func(t *testing.T, b []byte, chop uint8, deflate bool) {
		read := func(chop int) (out []string) {
			r := reader{max: 1 << 10, deflate: deflate}
			for rest := append([]byte(nil), b...); len(rest) > 0; {
				piece := rest[:min(chop, len(rest))]
				rest = rest[len(piece):]
				for {
					m, got, ctl, err := r.next(&piece)
					if len(m.Data) > r.max || len(r.message) > r.max {
						t.Fatalf("%d bytes in a message", max(len(m.Data), len(r.message)))
					}
					switch {
					case err != nil:
						return append(out, err.Error())
					case got:
						out = append(out, string(m.Data))
						continue
					case ctl.op != 0:
						out = append(out, string(ctl.payload))
						continue
					}
					break
				}
			}
			return out
		}
		whole, pieces := strings.Join(read(len(b)+1), "|"), strings.Join(read(int(chop)+1), "|")
		if whole != pieces {
			t.Errorf("in one piece %q, in pieces of %d %q", whole, int(chop)+1, pieces)
		}
	})
}
