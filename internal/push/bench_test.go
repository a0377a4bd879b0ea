package push

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// crowd is loopback clients that discard and count what they read.
type crowd struct {
	servers []net.Conn
	clients []net.Conn
	reading sync.WaitGroup

	read atomic.Int64
	want atomic.Int64 // at how much read arrived hears of it
	at   chan struct{}
}

func newCrowd(b *testing.B, size int) *crowd {
	b.Helper()
	c := &crowd{at: make(chan struct{}, 1)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for range size {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		c.servers, c.clients = append(c.servers, server), append(c.clients, client)
		c.reading.Go(func() { _, _ = io.CopyBuffer(c, onlyReader{client}, make([]byte, 4096)) })
	}
	return c
}

// onlyReader keeps io.Copy from using the connection's WriteTo.
type onlyReader struct{ io.Reader }

// Write counts what a client has read.
func (c *crowd) Write(b []byte) (int, error) {
	n := int64(len(b))
	now, want := c.read.Add(n), c.want.Load()
	if now >= want && now-n < want {
		c.wake()
	}
	return len(b), nil
}

func (c *crowd) wake() {
	select {
	case c.at <- struct{}{}:
	default:
	}
}

// wait waits until all clients together have read so many bytes.
func (c *crowd) wait(want int64) {
	c.want.Store(want)
	for c.read.Load() < want {
		<-c.at
	}
}

// close ends the clients first, so that their ports are theirs to wait for.
func (c *crowd) close() {
	for _, nc := range c.clients {
		nc.Close()
	}
	c.reading.Wait()
	for _, nc := range c.servers {
		nc.Close()
	}
}

// sender sends one message to one connection.
type sender func([]byte) error

// viaPool is what this package does.
func viaPool(b *testing.B, servers []net.Conn) ([]sender, func()) {
	pool := New(nil)
	send := make([]sender, len(servers))
	for i, nc := range servers {
		c, err := pool.Add(nc, nil)
		if err != nil {
			b.Fatal(err)
		}
		send[i] = func(m []byte) error { return c.Push(m) }
	}
	return send, func() {
		s := pool.Stats()
		b.ReportMetric(float64(s.Pushed)/float64(s.Writes), "messages/write")
		pool.Close()
	}
}

// viaWrite is what one writes first: a lock and a write per connection. Its
// caller waits for each client.
func viaWrite(_ *testing.B, servers []net.Conn) ([]sender, func()) {
	send := make([]sender, len(servers))
	for i, nc := range servers {
		var mu sync.Mutex
		send[i] = func(m []byte) error {
			mu.Lock()
			defer mu.Unlock()
			_, err := nc.Write(m)
			return err
		}
	}
	return send, func() {}
}

// BenchmarkBroadcast sends a message of 100 bytes to all, and the next one when
// less than the outstanding number times the connections are on their way. The
// clients run in the same process and take their part of its time.
func BenchmarkBroadcast(b *testing.B) {
	for _, conns := range []int{1000, 5000} {
		for _, outstanding := range []int{1, 16} {
			for _, via := range []struct {
				name string
				make func(*testing.B, []net.Conn) ([]sender, func())
			}{{"pool", viaPool}, {"write", viaWrite}} {
				b.Run(fmt.Sprintf("%d/%d outstanding/%s", conns, outstanding, via.name), func(b *testing.B) {
					c := newCrowd(b, conns)
					send, end := via.make(b, c.servers)
					broadcast(b, c, send, outstanding)
					end()
					c.close()
				})
			}
		}
	}
}

func broadcast(b *testing.B, c *crowd, send []sender, outstanding int) {
	m := make([]byte, 100)
	round := int64(len(send) * len(m))
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		c.wait((sent - int64(outstanding-1)) * round)
		for _, push := range send {
			if err := push(m); err != nil {
				b.Fatal(err)
			}
		}
		sent++
	}
	b.StartTimer() // Loop has stopped it, and some are still on their way
	c.wait(sent * round)
	b.StopTimer()
	deliveries := float64(sent) * float64(len(send))
	b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
}
