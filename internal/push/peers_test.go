package push

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// rig is a pool with connections whose other ends a test holds. When the test
// ends it checks that OnClose was called once for each.
type rig struct {
	t     testing.TB
	pool  *Pool
	ln    net.Listener
	peers []*peer
}

type peer struct {
	*Conn
	server, client net.Conn

	calls  atomic.Int32
	closed chan error // the reason of OnClose
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, pool: New(nil)}
	t.Cleanup(r.end)
	return r
}

func (r *rig) end() {
	for _, p := range r.peers {
		_ = p.client.Close() // many tests have closed it
	}
	r.pool.Close()
	for i, p := range r.peers {
		if got := p.calls.Load(); got != 1 {
			r.t.Errorf("OnClose of connection %d was called %d times, want once", i, got)
		}
	}
	if r.ln != nil {
		r.ln.Close()
	}
	if p := r.pool; p.open != 0 || p.newest != nil || p.first != nil || p.running != 0 || p.parked != 0 {
		r.t.Errorf("after Close: %d connections, %d flushers, %d parked goroutines", p.open, p.running, p.parked)
	}
}

// add adds the server's end, with opts' OnClose replaced.
func (r *rig) add(server, client net.Conn, opts ConnOptions) *peer {
	r.t.Helper()
	p := &peer{server: server, client: client, closed: make(chan error, 1)}
	opts.OnClose = func(err error) {
		if p.calls.Add(1) == 1 {
			p.closed <- err
		}
	}
	var err error
	if p.Conn, err = r.pool.Add(server, &opts); err != nil {
		r.t.Fatal(err)
	}
	r.peers = append(r.peers, p)
	return p
}

func (r *rig) pipe(opts ConnOptions) *peer {
	r.t.Helper()
	server, client := net.Pipe()
	return r.add(server, client, opts)
}

func (r *rig) tcp(opts ConnOptions) *peer {
	r.t.Helper()
	server, client := r.dial("tcp", "127.0.0.1:0")
	return r.add(server, client, opts)
}

func (r *rig) unix(opts ConnOptions) *peer {
	r.t.Helper()
	server, client := r.dial("unix", filepath.Join(r.t.TempDir(), "s"))
	return r.add(server, client, opts)
}

func (r *rig) tls(opts ConnOptions) *peer {
	r.t.Helper()
	certs := httptest.NewTLSServer(nil)
	defer certs.Close()
	rawServer, rawClient := r.dial("tcp", "127.0.0.1:0")
	server := tls.Server(rawServer, &tls.Config{Certificates: certs.TLS.Certificates})
	client := tls.Client(rawClient, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
	return r.add(server, client, opts)
}

// transports are all kinds of connections that a pool tells apart.
var transports = []struct {
	name string
	make func(*rig, ConnOptions) *peer
}{
	{"TCP", (*rig).tcp},
	{"a Unix socket", (*rig).unix},
	{"TLS", (*rig).tls},
	{"a pipe", (*rig).pipe},
}

// dial listens once per rig: one test uses one network.
func (r *rig) dial(network, addr string) (server, client net.Conn) {
	r.t.Helper()
	if r.ln == nil {
		ln, err := net.Listen(network, addr)
		if err != nil {
			r.t.Fatal(err)
		}
		r.ln = ln
	}
	client, err := net.Dial(network, r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	server, err = r.ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	return server, client
}

const messageHead = 9

// message is the pusher, a number that counts its messages, the length, and a
// pattern that both give.
func message(pusher, seq, size int) []byte {
	b := make([]byte, messageHead, messageHead+size)
	b[0] = byte(pusher)
	binary.BigEndian.PutUint32(b[1:], uint32(seq))
	binary.BigEndian.PutUint32(b[5:], uint32(size))
	for i := range size {
		b = append(b, byte(pusher*31+seq*7+i))
	}
	return b
}

// readMessages reads n messages and checks that each is whole and each pusher's
// are in order.
func readMessages(r io.Reader, n int) error {
	next := map[byte]int{}
	head := make([]byte, messageHead)
	for range n {
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		pusher, seq := head[0], int(binary.BigEndian.Uint32(head[1:]))
		if seq != next[pusher] {
			return fmt.Errorf("got message %d of pusher %d, want %d", seq, pusher, next[pusher])
		}
		next[pusher]++
		body := make([]byte, binary.BigEndian.Uint32(head[5:]))
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		for i, got := range body {
			if want := byte(int(pusher)*31 + seq*7 + i); got != want {
				return fmt.Errorf("byte %d of message %d of pusher %d is %d, want %d", i, seq, pusher, got, want)
			}
		}
	}
	return nil
}

// expect reads the string from the client's end.
func (p *peer) expect(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.client, got); err != nil || string(got) != want {
		t.Fatalf("the client read %q and %v, want %q", got[:n], err, want)
	}
}

func (p *peer) push(t testing.TB, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := p.Push([]byte(m)); err != nil {
			t.Fatalf("Push(%.20q): %v", m, err)
		}
	}
}

// held is what the pool keeps for the connection, counted as for the limit.
func (p *peer) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.q == nil {
		return 0
	}
	cost := 0
	for _, it := range p.q.items[p.q.head:] {
		cost += it.cost()
	}
	return cost
}
