package redisengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Options configures an Engine. The zero value is ready to use.
type Options struct {
	// Prefix is kombu's global_keyprefix: it stands before every key and
	// channel but those of results.
	Prefix string

	// ResultPrefix stands before the keys and channels of results: the
	// global_keyprefix of the result backend, with its separator.
	ResultPrefix string

	// DB is the number of the broker's database, which kombu writes into the
	// names of channels. ResultDB, if not nil, is that of the results.
	DB       int
	ResultDB *int

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// Engine is broker, results, streams and locks on one Redis. Its methods may
// be called at once.
type Engine struct {
	client rueidis.Client
	direct rueidis.Client // may be the same; for calls of which one is under way at a time
	opts   Options
	log    *slog.Logger
	base   []string // the first arguments of every script

	done  chan struct{}
	close func()
	loops sync.WaitGroup // ends with done

	subs    *subscriptions
	retains retains
	missed  atomic.Uint64 // broadcasts that slow listeners lost
	touched sync.Map      // queues whose binding is declared

	mu        sync.Mutex
	outboxes  map[string]*outbox
	receivers map[*receiver]struct{}
	keeper    *keeper // nil without receivers
}

var _ interface {
	engine.Broker
	engine.Results
	engine.Streams
	engine.Locks
	engine.Pinger
} = (*Engine)(nil)

// New makes an engine on a client, which it closes. Nil options are the
// defaults.
func New(client rueidis.Client, opts *Options) (*Engine, error) {
	e := &Engine{client: client, done: make(chan struct{}), receivers: map[*receiver]struct{}{}, outboxes: map[string]*outbox{}}
	if opts != nil {
		e.opts = *opts
	}
	if e.log = e.opts.Logger; e.log == nil {
		e.log = slog.Default()
	}
	e.direct = client
	e.close = sync.OnceFunc(e.shut)
	e.base = e.baseArgs()
	e.subs = newSubscriptions(e)
	return e, nil
}

// Set returns the engine for the facets that it serves. It has no Layer.
func (e *Engine) Set() engine.Set {
	return engine.Set{Broker: e, Results: e, Streams: e, Locks: e}
}

// Close implements all facets.
func (e *Engine) Close() error {
	e.close()
	return nil
}

func (e *Engine) shut() {
	rs := e.all()
	close(e.done)
	for _, r := range rs {
		r.stop()
	}
	e.subs.close()
	e.client.Close()
	e.direct.Close()
	e.loops.Wait()
}

// all returns the receivers that are open.
func (e *Engine) all() []*receiver {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.receivers))
}

func (e *Engine) closed() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Ping implements engine.Pinger.
func (e *Engine) Ping(ctx context.Context) error {
	if e.closed() {
		return engine.ErrClosed
	}
	return e.wrong(e.client.Do(ctx, e.client.B().Ping().Build()).Error())
}

// wrong translates what Redis and its client say.
func (e *Engine) wrong(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rueidis.ErrClosing), e.closed():
		return engine.ErrClosed
	}
	if said, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(said.Error(), "OOM") {
		return fmt.Errorf("redis is at its maxmemory: %w", engine.ErrFull)
	}
	return fmt.Errorf("redis: %w", err)
}
