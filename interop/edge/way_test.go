package edge_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rhubarb-go/rhubarb/interop"
)

// edge is where clients find the site, and what can happen to it.
type edge struct {
	url     string
	sockets bool   // WebSockets get through
	cut     func() // breaks every connection in the middle

	// deploy restarts every process of the site, one after the other, and calls
	// then whenever clients must be able to come back: while one of two is
	// away, and after the last. It is nil where a deploy could not go unnoticed.
	deploy func(then func())
}

// ways are the ways to a site.
var ways = []struct {
	name string
	open func(*testing.T) *edge
}{
	{"directly", direct},
	{"behind nginx with one line", nginxPlain},
	{"behind nginx", nginx},
	{"behind haproxy", haproxy},
}

// onEachWay runs a test on each of them.
func onEachWay(t *testing.T, test func(*testing.T, *edge)) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w.open(t))
		})
	}
}

// server is a process that serves the site.
type server struct {
	*interop.Process
	t     *testing.T
	addr  string
	flags []string
}

var serving = regexp.MustCompile(`msg=serving url=https?://(\S+)`)

// serve starts a process and stops it after the test.
func serve(t *testing.T, flags ...string) *server {
	t.Helper()
	s := &server{t: t, addr: "127.0.0.1:0", flags: flags}
	s.start()
	t.Cleanup(func() {
		if !s.Ended() {
			s.stop()
		}
	})
	return s
}

// start starts it, at the same address as before.
func (s *server) start() {
	s.t.Helper()
	cmd := exec.Command(binary, append([]string{"serve", "--data", data, "--addr", s.addr, "--group", "room.*", "--keep", "1h", "--grace", "2s"}, s.flags...)...)
	p, said, err := interop.Start(cmd, serving)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Process, s.addr = p, said[0]
}

// stop stops it as a deploy does.
func (s *server) stop() {
	s.t.Helper()
	if err := s.Process.Stop(); err != nil {
		s.t.Error(err)
	}
}

func direct(t *testing.T) *edge {
	s := serve(t)
	return &edge{
		url: "http://" + s.addr, sockets: true,
		cut:    func() { kill(t, s.Process); s.start() },
		deploy: func(then func()) { s.stop(); s.start(); then() },
	}
}

// kill ends a process as a crash does.
func kill(t *testing.T, p *interop.Process) {
	t.Helper()
	if p.Kill() == nil {
		t.Fatal("a process had ended before it was killed")
	}
}

// rolling restarts processes one by one.
func rolling(servers ...*server) func(func()) {
	return func(then func()) {
		for _, s := range servers {
			s.stop()
			then()
			s.start()
		}
		then()
	}
}

func nginxPlain(t *testing.T) *edge {
	s := serve(t)
	e := runNginx(t, configuration(t, "nginx-plain.conf", "listen 80;", "listen "+addrMark+";", "127.0.0.1:8080", s.addr))
	return e
}

func nginx(t *testing.T) *edge {
	one, two := serve(t), serve(t)
	e := runNginx(t, configuration(t, "nginx.conf", "listen 80;", "listen "+addrMark+";", "127.0.0.1:8080", one.addr, "127.0.0.1:8081", two.addr))
	e.sockets, e.deploy = true, rolling(one, two)
	return e
}

func haproxy(t *testing.T) *edge {
	one, two := serve(t), serve(t)
	e := runHaproxy(t, configuration(t, "haproxy.cfg", "bind :80", "bind "+addrMark, "127.0.0.1:8080", one.addr, "127.0.0.1:8081", two.addr))
	e.sockets, e.deploy = true, rolling(one, two)
	return e
}

// addrMark is where the proxy's own address goes.
const addrMark = "ADDRESS"

// configuration reads a file that the documents quote and replaces parts of it,
// each of which must be there.
func configuration(t *testing.T, name string, replace ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s has no %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

// freeAddr is an address on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// aroundSite is the rest of an nginx.conf: as Debian's, but in a folder.
const aroundSite = `daemon off;
user root root;
error_log stderr notice;
pid nginx.pid;
worker_processes 1;
events { worker_connections 768; }
http {
	access_log off;
	gzip on;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	include site.conf;
}
`

// runNginx runs it until the test ends. A cut kills its workers, as running out
// of memory does.
func runNginx(t *testing.T, site string) *edge {
	t.Helper()
	path, dir, addr := interop.Find(t, "nginx", "/usr/sbin/nginx"), t.TempDir(), freeAddr(t)
	write(t, filepath.Join(dir, "site.conf"), strings.ReplaceAll(site, addrMark, addr))
	write(t, filepath.Join(dir, "nginx.conf"), aroundSite)
	p, _, err := interop.Start(exec.Command(path, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"), regexp.MustCompile(`start worker process \d`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &edge{url: "http://" + addr, cut: func() { killChildren(t, p) }}
}

// killChildren kills a process's workers, of which there must be some.
func killChildren(t *testing.T, p *interop.Process) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.PID()))
	if err != nil || len(raw) == 0 {
		t.Fatalf("the workers are %q, %v", raw, err)
	}
	for s := range strings.FieldsSeq(string(raw)) {
		pid, err := strconv.Atoi(s)
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// runHaproxy runs it until the test ends. A cut kills it and starts it again.
func runHaproxy(t *testing.T, text string) *edge {
	t.Helper()
	path, addr, cfg := interop.Find(t, "haproxy", "/usr/sbin/haproxy"), freeAddr(t), filepath.Join(t.TempDir(), "haproxy.cfg")
	write(t, cfg, strings.ReplaceAll(text, addrMark, addr))
	var p *interop.Process
	start := func() {
		var err error
		if p, _, err = interop.Start(exec.Command(path, "-W", "-db", "-f", cfg), regexp.MustCompile("Loading success")); err != nil {
			t.Fatal(err)
		}
	}
	start()
	stop := func() {
		killChildren(t, p)
		_ = p.Stop() // it ends as its worker did, or by the signal
	}
	t.Cleanup(stop)
	return &edge{url: "http://" + addr, cut: func() { stop(); start() }}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
