package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// edge is one library that serves connections, each of which follows the group
// that its path names.
type edge interface {
	http.Handler
	publish(group, text string) error
}

// side is how to begin an edge, and how clients speak to it.
type side struct {
	name  string
	sse   bool
	hello string // what a client says first over a WebSocket
	open  func(ctx context.Context) (edge, error)
}

var all = []side{
	{name: "rhubarb", open: openRhubarb},
	{name: "centrifuge", open: openCentrifuge, hello: `{"id":1,"connect":{}}`},
	{name: "gws", open: openGWS},
	{name: "coder", open: openCoder},
	{name: "bare", open: openBare},
	{name: "rhubarb-sse", sse: true, open: openRhubarbEvents},
	{name: "nethttp-sse", sse: true, open: openPlainEvents},
}

func sideOf(name string) (side, error) {
	i := slices.IndexFunc(all, func(s side) bool { return s.name == name })
	if i < 0 {
		return side{}, fmt.Errorf("no side is named %q", name)
	}
	return all[i], nil
}

// serve is the serving process. It says its address, and then obeys lines:
// "publish GROUP NUMBER" and "collect", which is answered.
func serve(ctx context.Context, name, profiles string) error {
	s, err := sideOf(name)
	if err != nil {
		return err
	}
	if profiles != "" {
		stop, err := profile(filepath.Join(profiles, name))
		if err != nil {
			return err
		}
		defer stop()
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	e, err := s.open(ctx)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second}
	sse.Prepare(srv) // for every side alike
	go srv.Serve(ln) //nolint:errcheck // the process ends with its input
	fmt.Println(ln.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var group string
		var number int
		if _, err := fmt.Sscanf(in.Text(), "publish %s %d", &group, &number); err == nil {
			if err := e.publish(group, text(number)); err != nil {
				return err
			}
			continue
		}
		debug.FreeOSMemory()
		fmt.Println("collected")
	}
	return in.Err()
}

// served is a serving process.
type served struct {
	side
	addr string
	pid  int
	in   io.WriteCloser
	out  *bufio.Reader
	cmd  *exec.Cmd
}

func begin(ctx context.Context, s side, profiles string) (*served, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", s.name, "-profiles", profiles)
	cmd.Stderr = os.Stderr
	p := &served{side: s, cmd: cmd}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.pid, p.out = cmd.Process.Pid, bufio.NewReader(out)
	p.addr, err = p.out.ReadString('\n')
	p.addr = strings.TrimSpace(p.addr)
	return p, err
}

func (p *served) publish(group string, number int) error {
	_, err := fmt.Fprintf(p.in, "publish %s %d\n", group, number)
	return err
}

// collect has the process give back what memory it can.
func (p *served) collect() error {
	for range 2 { // what finalizers free goes at the second time
		if _, err := io.WriteString(p.in, "collect\n"); err != nil {
			return err
		}
		if _, err := p.out.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

func (p *served) end() {
	_ = p.in.Close() // its sign to end
	_ = p.cmd.Wait() // says nothing new
}

// groups are the members of groups, for libraries that have none themselves.
type groups[C comparable] struct {
	mu sync.RWMutex
	by map[string]map[C]struct{}
}

func (g *groups[C]) add(name string, c C) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.by == nil {
		g.by = map[string]map[C]struct{}{}
	}
	if g.by[name] == nil {
		g.by[name] = map[C]struct{}{}
	}
	g.by[name][c] = struct{}{}
}

func (g *groups[C]) remove(name string, c C) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.by[name], c)
}

func (g *groups[C]) each(name string, do func(C)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for c := range g.by[name] {
		do(c)
	}
}
