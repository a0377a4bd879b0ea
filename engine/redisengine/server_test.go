package redisengine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// redisServer is a redis-server process with a store of its own, behind a
// proxy whose connections can be cut.
type redisServer struct {
	dir   string
	port  int
	args  []string // beside those of every server
	cmd   *exec.Cmd
	proxy *proxy
}

// binary finds a program of Debian's packages, or ends the test.
func binary(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("RHUBARB_REQUIRE_SERVERS") != "" {
		t.Fatalf("%s is needed: scripts/setup installs it", name)
	}
	t.Skipf("%s is not installed, scripts/setup does it", name)
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startRedis starts a server that writes each change before it answers, so that
// it may be killed.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	s := &redisServer{dir: t.TempDir(), port: freePort(t), args: args}
	s.start(t)
	t.Cleanup(s.kill)
	s.proxy = startProxy(t, s.addr())
	return s
}

func (s *redisServer) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *redisServer) start(t testing.TB) {
	t.Helper()
	args := append([]string{
		"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "no", "--logfile", "redis.log",
	}, s.args...)
	s.cmd = exec.Command(binary(t, "redis-server"), args...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for !answers("tcp", s.addr()) {
		if time.Now().After(deadline) {
			log, err := os.ReadFile(filepath.Join(s.dir, "redis.log"))
			t.Fatalf("redis-server does not start:\n%s%v", log, err)
		}
		<-time.After(10 * time.Millisecond) // nothing tells when a process listens
	}
}

// answers reports whether a server has loaded its data. One that wants a
// password or TLS has, if it says so or hangs up.
func answers(network, addr string) bool {
	c, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // the read tells
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	said := make([]byte, 64)
	n, err := c.Read(said)
	return err == io.EOF || !bytes.HasPrefix(said[:n], []byte("-LOADING")) && n > 0
}

func (s *redisServer) kill() {
	s.cmd.Process.Kill() //nolint:errcheck // Wait tells
	s.cmd.Wait()         //nolint:errcheck // it was killed
}

// restart is kill -9 and a new process on the same store.
func (s *redisServer) restart(t testing.TB) {
	t.Helper()
	s.kill()
	s.start(t)
}

func (s *redisServer) url() string { return "redis://" + s.proxy.addr }

func (s *redisServer) engine(t testing.TB) *redisengine.Engine {
	t.Helper()
	return connect(t, s.url())
}

func connect(t testing.TB, url string) *redisengine.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	e, err := redisengine.Connect(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// proxy forwards TCP connections, and can cut them all.
type proxy struct {
	addr, to string
	l        net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	silent map[net.Conn]struct{} // those of which nothing is passed on
	delay  time.Duration         // of what clients send
	left   int                   // bytes until a connection is cut in the middle of them; 0: none is
	gone   chan struct{}         // closed by that cut
}

// cutAfter has the connection that brings the n-th byte from now, in either
// direction, break there. It returns what is closed when that has happened.
func (p *proxy) cutAfter(n int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.gone = n, make(chan struct{})
	return p.gone
}

func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// pass says how many of n bytes go on, and when.
func (p *proxy) pass(from net.Conn, n int) (most int, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if from.LocalAddr().String() == p.addr {
		delay = p.delay
	}
	if p.left == 0 || p.left > n {
		p.left = max(0, p.left-n)
		return n, delay
	}
	n, p.left = p.left, 0
	close(p.gone)
	return n - 1, delay
}

// freeze has all who are connected now hear nothing any more, and not the end.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.silent[c] = struct{}{}
	}
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]struct{}{}, silent: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pipe(in, out) })
		p.wg.Go(func() { p.pipe(out, in) })
	}
}

func (p *proxy) pipe(from, to net.Conn) {
	io.Copy(writer(func(b []byte) (int, error) { //nolint:errcheck // a cut is what this is for
		p.mu.Lock()
		_, silent := p.silent[from]
		p.mu.Unlock()
		if silent {
			return len(b), nil
		}
		n, delay := p.pass(from, len(b))
		if delay > 0 {
			<-time.After(delay)
		}
		if n < len(b) {
			to.Write(b[:n]) //nolint:errcheck // it breaks here in any case
			return n, io.ErrUnexpectedEOF
		}
		return to.Write(b)
	}), from)
	from.Close()
	to.Close()
	p.mu.Lock()
	delete(p.conns, from)
	delete(p.silent, from)
	p.mu.Unlock()
}

// writer is a function as an io.Writer.
type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// fixture finds the server of an engine under test.
type fixture struct {
	mu      sync.Mutex
	servers map[engine.Broker]*redisServer
}

func (f *fixture) of(s engine.Set) *redisServer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[s.Broker]
}

func (f *fixture) add(t testing.TB, srv *redisServer) engine.Set {
	e := srv.engine(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[e] = srv
	return e.Set()
}
