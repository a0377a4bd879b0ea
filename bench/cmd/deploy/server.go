package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// build makes a program of the rhubarb module, which has the servers we need.
func build(ctx context.Context, to, pkg string, race bool) error {
	where, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/rhubarb-go/rhubarb").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	args := []string{"build", "-o", to}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = strings.TrimSpace(string(where))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// freeAddr is an address at which nobody listens now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startNATS starts a nats-server and returns its URL, and what ends it.
func startNATS(ctx context.Context, dir string) (url string, end func(), err error) {
	path := filepath.Join(dir, "nats-server")
	if err := build(ctx, path, "github.com/nats-io/nats-server/v2", false); err != nil {
		return "", nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return "", nil, err
	}
	conf := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\nmax_payload: 4MB\njetstream { store_dir: %q }\n", addr, filepath.Join(dir, "js"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(path, "-c", conf)
	cmd.SysProcAttr = dieWithUs
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = cmd.Process.Kill() // Wait tells
		_ = cmd.Wait()
	}
	for {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return "nats://" + addr, end, nc.Close()
		}
		if pause(ctx, 20*time.Millisecond) != nil { // nothing tells when a process listens
			end()
			return "", nil, err
		}
	}
}

// dieWithUs has the kernel end a process that we could not.
var dieWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// server is one of the two addresses, and the process that serves there now.
type server struct {
	name, addr string
	args       []string
	binary     string
	grace      time.Duration
	log        io.Writer

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan error
	usage usage
}

// usage is what the processes of one server have cost, and have counted.
type usage struct {
	rss           int64   // the most, in bytes
	cpu           float64 // the most within half a second, in cores
	reads, resume float64
}

// start starts a process, and waits until it is ready.
func (s *server) start(ctx context.Context) error {
	cmd := exec.Command(s.binary, s.args...)
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(&limited{b: &said}, s.log)
	cmd.SysProcAttr = dieWithUs
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // stop and kill wait for it
	s.mu.Lock()
	s.cmd, s.ended = cmd, ended
	s.mu.Unlock()
	for {
		if isReady(ctx, s.addr) {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("server %s did not start: %w\n%s", s.name, err, said.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // nothing tells when a process is ready
		}
	}
}

// limited keeps the beginning of what is written.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len() < 64<<10 {
		l.b.Write(p)
	}
	return len(p), nil
}

// stop asks the process to end, as a deploy does, and says how long it took.
func (s *server) stop(ctx context.Context) (took time.Duration, err error) {
	start := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case err = <-s.ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	s.cmd = nil
	s.mu.Unlock()
	return time.Since(start), err
}

func (s *server) kill() {
	s.mu.Lock()
	cmd := s.cmd
	s.cmd = nil
	s.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill() // or it has ended
		<-s.ended
	}
}

func (s *server) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

var asking = http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(ctx context.Context, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := asking.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

func isReady(ctx context.Context, addr string) bool {
	status, _, err := get(ctx, "http://"+addr+"/readyz")
	return err == nil && status == http.StatusOK
}

// watch notes what the server's processes cost and count, until ctx ends.
func (s *server) watch(ctx context.Context) {
	const every = 500 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last struct {
		pid           int
		cpu           time.Duration
		at            time.Time
		reads, resume float64
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pid := s.pid()
		if pid == 0 {
			continue
		}
		if pid != last.pid { // a new process counts anew
			last.pid, last.at, last.reads, last.resume = pid, time.Time{}, 0, 0
		}
		rss, err1 := measure.RSS(pid)
		cpu, err2 := measure.CPU(pid)
		if err := errors.Join(err1, err2); err != nil {
			continue // it has just ended
		}
		now := time.Now()
		s.mu.Lock()
		s.usage.rss = max(s.usage.rss, rss)
		if !last.at.IsZero() {
			s.usage.cpu = max(s.usage.cpu, float64(cpu-last.cpu)/float64(now.Sub(last.at)))
		}
		s.mu.Unlock()
		last.cpu, last.at = cpu, now
		status, text, err := get(ctx, "http://"+s.addr+"/metrics")
		if err != nil || status != http.StatusOK {
			continue // it listens no more
		}
		reads, resume := metric(text, "rhubarb_history_reads_total"), metric(text, "rhubarb_history_resumes_total")
		s.mu.Lock()
		s.usage.reads += reads - last.reads
		s.usage.resume += resume - last.resume
		s.mu.Unlock()
		last.reads, last.resume = reads, resume
	}
}

// metric is a number of /metrics, without labels.
func metric(text []byte, name string) float64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
