package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// crowd is many clients in one thread.
type crowd struct {
	poller int
	fds    []int
	tails  map[int][]byte // what may be the beginning of a message, by fd
	buf    []byte

	want     int         // deliveries of each message
	got      map[int]int // deliveries of messages under way
	complete []int       // messages that all have
	since    time.Time   // messages from before do not count
	latency  histogram
	count    int
}

// dialers is how many clients connect at once.
const dialers = 64

// gather connects n clients, each to the group that it is given.
func gather(ctx context.Context, p *served, n int, group func(i int) string) (*crowd, error) {
	poller, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	c := &crowd{poller: poller, fds: make([]int, n), tails: map[int][]byte{}, buf: make([]byte, 256<<10), got: map[int]int{}}
	var dials errgroup.Group
	for w := range dialers {
		dials.Go(func() error {
			for i := w; i < n; i += dialers {
				fd, err := dial(ctx, p, group(i))
				if err != nil {
					return fmt.Errorf("client %d: %w", i, err)
				}
				c.fds[i] = fd
			}
			return nil
		})
	}
	if err := dials.Wait(); err != nil {
		return nil, err
	}
	for _, fd := range c.fds {
		if err := unix.EpollCtl(poller, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// dial connects one client and returns its socket.
func dial(ctx context.Context, p *served, group string) (int, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	path, more, status := "ws", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "HTTP/1.1 101 "
	if p.sse {
		path, more, status = "events", "Accept: text/event-stream\r\n", "HTTP/1.1 200 "
	}
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(nc, "GET /groups/%s/%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", group, path, p.addr, more); err != nil {
		return 0, err
	}
	head, err := readHead(nc)
	if err != nil || !strings.HasPrefix(head, status) {
		return 0, fmt.Errorf("answered %q: %w", head, err)
	}
	if p.hello != "" {
		frame := append([]byte{0x81, 0x80 | byte(len(p.hello)), 0, 0, 0, 0}, p.hello...) // RFC 6455, 5.2, with a mask of zeros
		if _, err := nc.Write(frame); err != nil {
			return 0, err
		}
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := -1
	var duplicate error
	if err := raw.Control(func(own uintptr) { fd, duplicate = unix.Dup(int(own)) }); err != nil {
		return 0, err
	}
	return fd, duplicate // Go's poller forgets its own, and the socket stays open
}

// readHead reads a response's head and not a byte more.
func readHead(r io.Reader) (string, error) {
	var head strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := io.ReadFull(r, b); err != nil {
			return head.String(), err
		}
		head.WriteByte(b[0])
	}
	return head.String(), nil
}

// poll reads what there is, after waiting for some.
func (c *crowd) poll(wait time.Duration) error {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(c.poller, events[:], int(wait.Milliseconds()))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range events[:n] {
		if err := c.read(int(e.Fd)); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) read(fd int) error {
	tail := c.tails[fd]
	kept := copy(c.buf, tail)
	n, err := unix.Read(fd, c.buf[kept:])
	switch {
	case err == unix.EAGAIN:
		return nil
	case err != nil:
		return fmt.Errorf("a connection broke: %w", err)
	case n == 0:
		return fmt.Errorf("the server closed a connection: %w", io.ErrUnexpectedEOF)
	}
	now := time.Now()
	var late error
	rest, err := scan(c.buf[:kept+n], func(number int, sent time.Time) {
		if sent.Before(c.since) {
			return
		}
		c.count++
		c.latency.add(now.Sub(sent))
		c.got[number]++
		switch got := c.got[number]; {
		case got == c.want:
			c.complete = append(c.complete, number)
		case got > c.want:
			late = fmt.Errorf("message %d came %d times, to %d clients", number, got, c.want)
		}
	})
	if len(rest) > 0 {
		c.tails[fd] = append(tail[:0], rest...)
	} else if len(tail) > 0 {
		delete(c.tails, fd)
	}
	if err == nil {
		err = late
	}
	return err
}

func (c *crowd) leave() {
	for _, fd := range c.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(c.poller)
}

// histogram counts durations: by 10 µs up to 100 ms, above that by 10 ms.
type histogram struct {
	fine   [10_000]int
	coarse [1_000]int
	n      int
}

func (h *histogram) add(d time.Duration) {
	h.n++
	if i := int(max(d, 0) / (10 * time.Microsecond)); i < len(h.fine) {
		h.fine[i]++
		return
	}
	h.coarse[min(int(d/(10*time.Millisecond)), len(h.coarse)-1)]++
}

// at is the duration that a share of them, in hundredths, does not exceed, in ms.
func (h *histogram) at(percent int) float64 {
	rank := (h.n*percent + 99) / 100
	for i, n := range h.fine {
		if rank -= n; rank <= 0 {
			return float64(i+1) / 100
		}
	}
	for i, n := range h.coarse {
		if rank -= n; rank <= 0 {
			return float64(i+1) * 10
		}
	}
	return 0
}
