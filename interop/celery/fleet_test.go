package celery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine/dial"
	"github.com/rhubarb-go/rhubarb/interop"
)

// kind is who may be a client and a worker.
type kind string

const (
	python kind = "python"    // Celery as it is now
	oldest kind = "python5.2" // the oldest Celery that is supported
	golang kind = "go"        // rhubarb
)

// kinds are those that take part.
var kinds = []kind{python, oldest, golang}

// home is the virtualenv of a Celery.
func (k kind) home() string {
	if k == oldest {
		return filepath.Join(".venv", "5.2")
	}
	return filepath.Join(".venv", "current")
}

// node is the name of a worker. The second worker of a kind runs one task at a
// time and stores extended results.
func (k kind) node(second bool) string {
	if second {
		return string(k) + ".second@interop"
	}
	return string(k) + "@interop"
}

// queue is what only that worker takes from.
func (k kind) queue(second bool) string {
	if second {
		return string(k) + ".second"
	}
	return string(k)
}

// missing says what is not installed.
func missing() string {
	for _, k := range []kind{python, oldest} {
		if _, err := os.Stat(filepath.Join(k.home(), "bin", "python")); err != nil {
			return fmt.Sprintf("there is no %s: run scripts/setup", k.home())
		}
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		return "redis-server is not installed: run scripts/setup"
	}
	return ""
}

// fleet is a Redis of its own with workers and clients of all kinds.
type fleet struct {
	dir     string // temporary
	peer    string // the program in ./peer
	rhubarb string // and cmd/rhubarb
	url     string
	redis   *interop.Process
	clients map[kind]client
	hears   map[kind]*celeryClient // whose events are looked at

	mu      sync.Mutex
	workers []*interop.Process
	closers []func() error
}

func (f *fleet) start() error {
	if err := f.startRedis(); err != nil {
		return err
	}
	f.clients, f.hears = map[kind]client{}, map[kind]*celeryClient{}
	f.peer, f.rhubarb = filepath.Join(f.dir, "peer"), filepath.Join(f.dir, "rhubarb")
	if out, err := exec.Command("go", "build", "-o", f.dir, "./peer", "../../cmd/rhubarb").CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	err := together(len(kinds)*2, func(i int) error { return f.startWorker(kinds[i/2], i%2 == 1) })
	if err != nil {
		return err
	}
	// A client is ready when it hears a worker.
	return together(len(kinds), func(i int) error { return f.startClient(kinds[i]) })
}

// together does n things at once and waits for all.
func together(n int, do func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// startRedis starts it on a port that was free a moment ago.
func (f *fleet) startRedis() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	f.redis, _, err = interop.Start(exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", f.dir), regexp.MustCompile("Ready to accept connections"))
	f.url = "redis://127.0.0.1:" + port + "/0"
	return err
}

// in is the environment of a program that is to use the fleet's Redis.
func (f *fleet) in(more ...string) []string {
	return append(append(os.Environ(), "CELERY_BROKER_URL="+f.url, "CELERY_RESULT_BACKEND="+f.url), more...)
}

// pythonCommand runs a Celery's interpreter in the project.
func (f *fleet) pythonCommand(k kind, second bool, args ...string) (*exec.Cmd, error) {
	bin, err := filepath.Abs(filepath.Join(k.home(), "bin", "python"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = "project"
	cmd.Env = f.in("PYTHONDONTWRITEBYTECODE=1")
	if second {
		cmd.Env = append(cmd.Env, "INTEROP_EXTENDED=1")
	}
	return cmd, nil
}

// pool is how many tasks a first worker runs at once: as many as may wait for
// a gate, and some.
const pool = "8"

func (f *fleet) startWorker(k kind, second bool) error {
	if k == golang {
		return f.startPeer(second)
	}
	args := []string{"-m", "celery", "-A", "tasks", "worker", "-n", k.node(second), "-Q", k.queue(second), "-l", "INFO"}
	if second {
		args = append(args, "-P", "solo")
	} else {
		args = append(args, "-c", pool)
	}
	cmd, err := f.pythonCommand(k, second, args...)
	if err != nil {
		return err
	}
	p, _, err := interop.Start(cmd, regexp.MustCompile(`@interop ready\.`))
	f.keep(p)
	return err
}

// startPeer starts a worker of ours.
func (f *fleet) startPeer(second bool) error {
	args := []string{"-url", f.url, "-node", golang.node(second), "-queue", golang.queue(second)}
	if second {
		args = append(args, "-concurrency", "1", "-extended")
	}
	p, _, err := interop.Start(exec.Command(f.peer, args...), regexp.MustCompile("worker started"))
	f.keep(p)
	return err
}

func (f *fleet) keep(p *interop.Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p != nil {
		f.workers = append(f.workers, p)
	}
}

func (f *fleet) startClient(k kind) error {
	if k == golang {
		return f.join()
	}
	cmd, err := f.pythonCommand(k, false, "client.py")
	if err != nil {
		return err
	}
	c, err := newCeleryClient(cmd)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients[k], f.hears[k] = c, c
	f.closers = append(f.closers, c.close)
	return nil
}

// join makes the client of ours, in this process.
func (f *fleet) join() error {
	set, closeAll, err := dial.Dial(context.Background(), f.url, nil)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closers = append(f.closers, closeAll)
	app, err := rhubarb.New(set, &rhubarb.Options{SentEvents: true})
	f.clients[golang] = rhubarbClient{app}
	return err
}

// stop ends all, Redis last. A worker must end well.
func (f *fleet) stop() error {
	errs := []error{
		together(len(f.closers), func(i int) error { return f.closers[i]() }),
		together(len(f.workers), func(i int) error { return f.workers[i].Stop() }),
	}
	if f.redis != nil {
		errs = append(errs, f.redis.Stop())
	}
	return errors.Join(errs...)
}
