package push

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func TestConnIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Conn{}); got > 256 {
		t.Errorf("a Conn takes %d bytes, want at most 256", got)
	}
}

func TestBytesArriveWholeAndInOrder(t *testing.T) {
	for _, c := range []struct {
		name                 string
		transport            func(*rig, ConnOptions) *peer
		conns, pushers, each int
		size                 func(seq int) int
	}{
		{"1 connection, mixed sizes", (*rig).tcp, 1, 8, 300, mixed},
		{"1,000 connections", (*rig).tcp, 1000, 4, 15, func(seq int) int { return seq * 20 }},
		{"a Unix socket", (*rig).unix, 1, 4, 300, mixed},
		{"TLS", (*rig).tls, 1, 4, 200, mixed},
		{"a pipe", (*rig).pipe, 1, 4, 200, mixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			for range c.conns {
				c.transport(r, ConnOptions{Limit: 1 << 30})
			}
			failed := make(chan error, c.conns)
			for _, p := range r.peers {
				go func() { failed <- readMessages(p.client, c.pushers*c.each) }()
			}
			total := r.broadcast(c.pushers, c.each, c.size)
			for range r.peers {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			for _, p := range r.peers {
				if err := p.Flush(t.Context()); err != nil {
					t.Errorf("Flush: %v", err)
				}
			}
			want := Stats{Conns: c.conns, Pushed: uint64(c.conns * c.pushers * c.each), Bytes: uint64(c.conns * total)}
			got := r.pool.Stats()
			if got.Writes == 0 || got.Writes > want.Bytes {
				t.Errorf("%d writes of %d bytes", got.Writes, got.Bytes)
			}
			got.Writes, got.Waits = 0, 0
			if got != want {
				t.Errorf("Stats: %+v, want %+v", got, want)
			}
		})
	}
}

// mixed has messages that are joined, that fill a chunk and that exceed it.
func mixed(seq int) int {
	return []int{0, 1, 80, 1000, chunkSize - messageHead, chunkSize, 40_000, 3}[seq%8]
}

// broadcast pushes the same messages to all, checks that they are as they were,
// and returns their length.
func (r *rig) broadcast(pushers, each int, size func(int) int) int {
	r.t.Helper()
	var running sync.WaitGroup
	total := 0
	for pusher := range pushers {
		messages := make([][]byte, each)
		for seq := range messages {
			messages[seq] = message(pusher, seq, size(seq))
			total += len(messages[seq])
		}
		running.Go(func() {
			for _, m := range messages {
				for _, p := range r.peers {
					if err := p.Push(m); err != nil {
						r.t.Errorf("Push: %v", err)
						return
					}
				}
			}
			for _, p := range r.peers {
				if err := p.Flush(r.t.Context()); err != nil {
					r.t.Errorf("Flush: %v", err)
				}
			}
			for seq, m := range messages {
				if !bytes.Equal(m, message(pusher, seq, size(seq))) {
					r.t.Errorf("message %d of pusher %d was changed", seq, pusher)
				}
			}
		})
	}
	running.Wait()
	return total
}

func TestPushOfNothing(t *testing.T) {
	r := newRig(t)
	p := r.tcp(ConnOptions{})
	p.push(t, "", "a", "", "b")
	p.expect(t, "ab")
	if got := r.pool.Stats().Pushed; got != 2 {
		t.Errorf("%d pushed, want 2", got)
	}
}

func TestAddRefuses(t *testing.T) {
	r := newRig(t)
	server, client := net.Pipe()
	defer client.Close()
	if _, err := r.pool.Add(server, &ConnOptions{Policy: Conflate + 1}); err == nil {
		t.Error("a policy that there is not was accepted")
	}
	r.pool.Close()
	if _, err := r.pool.Add(server, nil); err != ErrClosed {
		t.Errorf("Add after Close: %v, want %v", err, ErrClosed)
	}
	if err := server.Close(); err != nil {
		t.Errorf("a refused connection is the caller's: %v", err)
	}
}

func TestGoroutinesThatWaitAreKeptForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 3 * maxParked {
			r.pipe(ConnOptions{}).push(t, "some")
		}
		synctest.Wait()
		for _, p := range r.peers {
			p.expect(t, "some")
		}
		synctest.Wait()
		if got := r.pool.parked; got != maxParked {
			t.Errorf("%d goroutines are parked, want %d", got, maxParked)
		}
		r.peers[0].push(t, "more")
		synctest.Wait()
		if got := r.pool.parked; got != maxParked-1 {
			t.Errorf("%d goroutines are parked while one waits, want %d", got, maxParked-1)
		}
		r.peers[0].expect(t, "more")
	})
}

// dated remembers the write deadline.
type dated struct {
	net.Conn
	deadline time.Time
}

func (d *dated) SetWriteDeadline(t time.Time) error {
	d.deadline = t
	return d.Conn.SetWriteDeadline(t)
}

// TLS writes answers of its own, after an idle time that may be long.
func TestNoDeadlineIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		server, client := net.Pipe()
		d := &dated{Conn: server}
		p := r.add(d, client, ConnOptions{})
		p.push(t, "some")
		synctest.Wait()
		if want := time.Now().Add(defaultWriteTimeout); !d.deadline.Equal(want) {
			t.Errorf("the deadline of a write is %v, want %v", d.deadline, want)
		}
		p.expect(t, "some")
		synctest.Wait()
		if !d.deadline.IsZero() {
			t.Errorf("the deadline after a write is %v, want none", d.deadline)
		}
	})
}

func TestResetByTheClient(t *testing.T) {
	for _, c := range []struct {
		name  string
		stuck bool
	}{
		{"while nothing waits", false},
		{"while it does not read", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p := r.tcp(ConnOptions{Limit: 1 << 30})
			if c.stuck {
				r.stick(p)
			}
			if err := p.client.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			p.client.Close()
			m := message(0, 0, 100)
			var pushed error
			for pushed == nil {
				pushed = p.Push(m)
			}
			got := <-p.closed
			if got != pushed {
				t.Errorf("OnClose got %v and Push %v, want the same", got, pushed)
			}
			if !errors.Is(got, syscall.ECONNRESET) && !errors.Is(got, syscall.EPIPE) || errors.Is(got, ErrSlow) ||
				!strings.HasPrefix(got.Error(), "push: write to 127.0.0.1:") {
				t.Errorf("OnClose got %v, want a write error of the connection", got)
			}
			if got := r.pool.Stats(); got.Overflows != 0 || got.Timeouts != 0 || got.Conns != 0 {
				t.Errorf("Stats: %+v, want no slow client", got)
			}
		})
	}
}

// A connection is pushed to, flushed, ended and closed by all at once: the race
// detector and the rig look on.
func TestEverythingAtOnce(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			for i := range 30 {
				p := tr.make(r, ConnOptions{Limit: 4000, Policy: Policy(i % 3)})
				var running sync.WaitGroup
				running.Go(func() { _, _ = io.Copy(io.Discard, p.client) }) // until the end, however it comes
				for pusher := range 3 {
					running.Go(func() {
						for seq := range 100 {
							_ = p.PushKey(fmt.Sprint(seq%3), message(pusher, seq, seq*5)) // may have ended
						}
						_ = p.Flush(t.Context())
					})
				}
				running.Go(func() {
					if i%2 == 0 {
						_ = p.Flush(t.Context())
					}
					p.End([]byte("last"), io.EOF)
					_ = p.Flush(t.Context())
					p.Close(nil)
				})
				running.Wait()
				if got := <-p.closed; got != io.EOF && !errors.Is(got, ErrSlow) {
					t.Errorf("OnClose got %v, want EOF or ErrSlow", got)
				}
			}
		})
	}
}

func TestAPoolWithoutConnectionsHoldsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if one is left
		p := New(nil)
		for range 2 {
			server, client := net.Pipe()
			closed := make(chan error)
			c, err := p.Add(server, &ConnOptions{OnClose: func(reason error) { closed <- reason }})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Push([]byte("x")); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			c.Close(nil)
			<-closed
			client.Close()
		}
	})
}
