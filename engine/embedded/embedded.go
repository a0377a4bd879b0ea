package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine/natsengine"
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	// Port for processes that join, on the loopback interface. Zero lets the
	// system choose.
	Port int

	// SyncAlways syncs every write to the disk before it is acknowledged.
	// Otherwise a power cut, but not a crash, may take the last second.
	SyncAlways bool

	// Reserve is how many bytes of the disk are kept for work that was
	// accepted: with less of it free, calls are refused with [engine.ErrFull].
	// Zero means 64 MiB.
	Reserve int64

	// MaxStore bounds the data, in bytes. Zero means 100 GiB; the disk is
	// usually smaller.
	MaxStore int64

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

func (o Options) maxStore() int64 {
	if o.MaxStore > 0 {
		return o.MaxStore
	}
	return 100 << 30
}

func (o Options) reserve() int64 {
	if o.Reserve > 0 {
		return o.Reserve
	}
	return 64 << 20
}

// Engine is the engine of one data directory, as this process sees it.
type Engine struct {
	*natsengine.Engine
	dir  string
	opts Options
	log  *slog.Logger

	done  chan struct{}
	once  sync.Once
	watch sync.WaitGroup
	err   error // of Close

	mu     sync.Mutex
	lock   *os.File       // nil if another process holds the directory
	server *server.Server // nil likewise

	sick    chan struct{} // the server complains
	dialled chan struct{} // a connection looks for the holder
}

const (
	// joinWait is how long Open waits for a holder that is just starting.
	joinWait = 15 * time.Second
	// lookAgain is how long a process that wants the lock waits between tries.
	lookAgain = 100 * time.Millisecond
	// lookAnyway is how often it looks without a reason.
	lookAnyway = 5 * time.Second
)

// Open opens the engine of a directory, which it makes if it is not there. If
// another process on this machine has it open, this one joins; ctx bounds the
// wait for it.
func Open(ctx context.Context, dir string, opts *Options) (*Engine, error) {
	e := &Engine{done: make(chan struct{}), sick: make(chan struct{}, 1), dialled: make(chan struct{}, 1)}
	if opts != nil {
		e.opts = *opts
	}
	if e.opts.Logger == nil {
		e.opts.Logger = slog.Default()
	}
	e.log = e.opts.Logger
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: data directory: %w", err)
	}
	e.dir = abs
	if err := prepare(abs); err != nil {
		return nil, err
	}
	if err := e.attach(ctx); err != nil {
		e.release()
		return nil, err
	}
	e.Engine, err = natsengine.Open(ctx, natsengine.Options{Connect: e.connect, Admit: e.admit, Logger: e.log})
	if err != nil {
		e.release()
		return nil, err
	}
	e.watch.Go(e.standBy)
	return e, nil
}

// attach becomes the holder or waits until there is one to join.
func (e *Engine) attach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	for {
		held, err := e.hold()
		if err != nil || held {
			return err
		}
		i, err := readInfo(e.dir)
		if err == nil {
			if err = reach(i); err == nil {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("embedded: another process holds %s but does not answer: %w", e.dir, err)
		}
	}
}

func reach(i info) error {
	nc, err := nats.Connect(i.URL, nats.Token(i.Token), nats.Timeout(2*time.Second))
	if err == nil {
		nc.Close()
	}
	return err
}

// hold tries to become the holder.
func (e *Engine) hold() (bool, error) {
	lock, err := tryLock(e.dir)
	if lock == nil || err != nil {
		return false, err
	}
	var s *server.Server
	var i info
	if err = roomToStart(e.dir); err == nil {
		s, i, err = startServer(e.dir, e.opts, e.sick)
	}
	if err == nil {
		if err = i.write(e.dir); err != nil {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	if err != nil {
		lock.Close()
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lock, e.server = lock, s
	return true, nil
}

// Holds reports whether this process runs the server.
func (e *Engine) Holds() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.server != nil
}

// standBy takes the directory over when its holder dies, and lets go of it
// when this process's server can no longer write, to start again when it can.
// It tries the lock when a connection is dialled, which is when one was lost.
func (e *Engine) standBy() {
	tick := time.NewTicker(lookAnyway)
	defer tick.Stop()
	var said string
	for {
		if e.Holds() && !e.untilSick() {
			return
		}
		select {
		case <-e.done:
			return
		case <-e.dialled:
		case <-tick.C:
		}
		held, err := e.hold()
		switch {
		case held:
			said = ""
			e.log.Info("took over the embedded engine", "dir", e.dir)
			continue
		case err != nil && err.Error() != said:
			said = err.Error()
			e.log.Error("the embedded engine waits", "err", err)
		}
		select {
		case <-e.done:
			return
		case <-time.After(lookAgain):
		}
	}
}

// untilSick returns true when the server cannot write any more and was
// stopped, false when the engine is closed.
func (e *Engine) untilSick() bool {
	files := newSyncer(filepath.Join(e.dir, dirStore))
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	if e.opts.SyncAlways { // then the server does it
		tick.Stop()
	}
	for {
		select {
		case <-e.done:
			return false
		case <-tick.C:
			if _, err := files.sync(); err != nil {
				e.log.Error("sync the data to the disk", "err", err, "dir", e.dir)
			}
			continue
		case <-e.sick:
		}
		e.mu.Lock()
		why := e.server.Healthz(nil).Error
		e.mu.Unlock()
		if why == "" {
			continue
		}
		e.log.Error("the embedded engine cannot write: it stops until it can", "err", why, "dir", e.dir)
		if err := e.release(); err != nil {
			e.log.Warn("stop the embedded engine", "err", err)
		}
		return true
	}
}

// connect opens a connection that finds the holder again wherever it is.
func (e *Engine) connect() (*nats.Conn, error) {
	return nats.Connect("nats://127.0.0.1:1", // every dial asks where the holder is
		nats.SetCustomDialer(dialer{e}), nats.TokenHandler(e.token), nats.SkipHostLookup(),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
		nats.RetryOnFailedConnect(false), nats.Timeout(5*time.Second),
		nats.PingInterval(30*time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(), nats.Name("rhubarb"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			e.log.Debug("embedded engine connection", "err", err)
		}))
}

func (e *Engine) token() string {
	i, err := readInfo(e.dir)
	if err != nil {
		return ""
	}
	return i.Token
}

// Close leaves the engine. If this process holds it, processes that joined
// take it over.
func (e *Engine) Close() error {
	e.once.Do(func() {
		close(e.done)
		e.watch.Wait()
		e.err = errors.Join(e.Engine.Close(), e.release())
	})
	return e.err
}

func (e *Engine) release() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.server = nil
	}
	if e.lock == nil {
		return nil
	}
	lock := e.lock
	e.lock = nil
	return lock.Close()
}
