package natsengine_test

import (
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

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/natsengine"
)

// natsServer is a nats-server process with a store of its own, behind a proxy
// whose connections can be cut.
type natsServer struct {
	dir   string
	port  int
	cmd   *exec.Cmd
	proxy *proxy
}

// binaryDir is a temporary directory of the test process.
var binaryDir string

// binary builds the real nats-server once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "nats-server")
	out, err := exec.Command("go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, out)
	}
	return path, nil
})

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startNATS(t testing.TB) *natsServer {
	t.Helper()
	s := &natsServer{dir: t.TempDir(), port: freePort(t)}
	s.start(t)
	t.Cleanup(s.kill)
	s.proxy = startProxy(t, fmt.Sprintf("127.0.0.1:%d", s.port))
	return s
}

func (s *natsServer) start(t testing.TB) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(s.dir, "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nmax_payload: 4MB\njetstream { store_dir: %q, sync_interval: \"1s\" }\n", s.port, filepath.Join(s.dir, "js"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(path, "-c", conf)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.port))
		if err == nil {
			nc.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nats-server does not start: %v", err)
		}
		<-time.After(20 * time.Millisecond) // nothing tells when a process listens
	}
}

func (s *natsServer) kill() {
	s.cmd.Process.Kill() //nolint:errcheck // Wait tells
	s.cmd.Wait()         //nolint:errcheck // it was killed
}

// restart is kill -9 and a new process on the same store.
func (s *natsServer) restart(t testing.TB) {
	s.kill()
	s.start(t)
}

func (s *natsServer) connect() (*nats.Conn, error) {
	return nats.Connect("nats://"+s.proxy.addr, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.IgnoreAuthErrorAbort())
}

func (s *natsServer) engine(t testing.TB) *natsengine.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e, err := natsengine.Open(ctx, natsengine.Options{Connect: s.connect})
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

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]struct{}{}}
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
	io.Copy(to, from) //nolint:errcheck // a cut is what this is for
	from.Close()
	to.Close()
	p.mu.Lock()
	delete(p.conns, from)
	p.mu.Unlock()
}

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
	servers map[engine.Broker]*natsServer
}

func (f *fixture) of(s engine.Set) *natsServer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[s.Broker]
}

func (f *fixture) add(t testing.TB, srv *natsServer) engine.Set {
	e := srv.engine(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[e] = srv
	return engine.All(e)
}
