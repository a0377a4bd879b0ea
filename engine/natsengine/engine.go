package natsengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Options configures an Engine.
type Options struct {
	// Connect opens a connection. It is called twice: one connection
	// publishes, the other consumes and reads, since direct reads run on a
	// connection's read loop and would hold up what is behind them.
	// Connections must reconnect without limit by themselves.
	Connect func() (*nats.Conn, error)

	// Admit, if set, is asked before messages are published. Its error refuses
	// them; what belongs to accepted ones is written without asking.
	Admit func() error

	// Replicas is how many servers keep each stream. Zero means one.
	Replicas int

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// Engine is all facets over one NATS with JetStream. Its methods may be called
// at once.
type Engine struct {
	opts   Options
	log    *slog.Logger
	pub    *nats.Conn
	sub    *nats.Conn
	pubs   *caller             // publishes on pub
	acks   *caller             // acknowledges on sub
	api    jetstream.JetStream // manages on sub
	window chan struct{}       // bounds publishes under way

	done    chan struct{}   // closed by Close
	life    context.Context // of the engine's own work; ends with Close
	stop    context.CancelFunc
	closing sync.Once
	loops   sync.WaitGroup
	missed  atomic.Uint64 // broadcast payloads a slow listener lost

	far far // when a delayed message goes to the backlog

	// fault, set by tests, is called between two steps of which the first is
	// durable.
	fault func(point string)

	mu        sync.Mutex
	plain     bool                   // the stream of plain channels is there
	history   bool                   // likewise RB_HISTORY
	consumers map[string]bool        // durable consumers known to exist
	writers   map[string]*writer     // by stream name: who appends here
	receivers map[*receiver]struct{} // for revocations
	epoch     chan struct{}          // closed and made anew at every reconnection
}

// maxPerLog bounds the records of one kind in one log, whatever its retention.
const maxPerLog = 1_000_000

// maxWindow is how many publishes may wait for their acknowledgement.
const maxWindow = 4096

// Open connects, checks the server and creates what is missing.
func Open(ctx context.Context, opts Options) (*Engine, error) { return open(ctx, opts, defaultFar) }

func open(ctx context.Context, opts Options, f far) (*Engine, error) {
	e := &Engine{
		opts: opts, log: opts.Logger, far: f, window: make(chan struct{}, maxWindow), done: make(chan struct{}),
		consumers: map[string]bool{}, writers: map[string]*writer{}, receivers: map[*receiver]struct{}{}, epoch: make(chan struct{}),
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.life, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if e.pub, err = opts.Connect(); err != nil {
		return nil, fmt.Errorf("natsengine: connect: %w", err)
	}
	if e.sub, err = opts.Connect(); err != nil {
		e.pub.Close()
		return nil, fmt.Errorf("natsengine: connect: %w", err)
	}
	e.sub.SetReconnectHandler(func(*nats.Conn) { e.reconnected() })
	if err = e.prepare(ctx); err != nil {
		e.pub.Close()
		e.sub.Close()
		return nil, err
	}
	e.loops.Go(e.moveLoop)
	return e, nil
}

func (e *Engine) prepare(ctx context.Context) (err error) {
	if err := checkVersion(e.sub.ConnectedServerVersion()); err != nil {
		return err
	}
	if e.pubs, err = newCaller(e.pub); err == nil {
		e.acks, err = newCaller(e.sub)
	}
	if err == nil {
		e.api, err = jetstream.New(e.sub, jetstream.WithDefaultTimeout(10*time.Second))
	}
	if err != nil {
		return fmt.Errorf("natsengine: %w", e.wrong(err))
	}
	if err := e.createStreams(ctx); err != nil {
		return err
	}
	return e.watchFlags()
}

// checkVersion refuses servers that lack what the engine is built on.
func checkVersion(v string) error {
	var major, minor int
	if _, err := fmt.Sscanf(v, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("natsengine: server version %q cannot be read", v)
	}
	if major < 2 || major == 2 && minor < 14 {
		return fmt.Errorf("natsengine: the server is NATS %s: message schedules and batched reads need 2.14 or later", v)
	}
	return nil
}

func (e *Engine) createStreams(ctx context.Context) error {
	replicas := max(e.opts.Replicas, 1)
	cfgs := []jetstream.StreamConfig{{
		Name: streamTasks, Subjects: []string{subjectQueue + ">", subjectETA + ">"}, Retention: jetstream.WorkQueuePolicy,
		AllowMsgSchedules: true, AllowMsgTTL: true, AllowRollup: true, AllowDirect: true, Duplicates: 2 * time.Minute,
	}, {
		Name: streamLater, Subjects: []string{subjectLater + ">"}, AllowDirect: true, Duplicates: 2 * time.Minute,
	}, {
		Name: streamShelf, Subjects: []string{subjectShelf + ">"}, MaxMsgsPerSubject: 1, AllowDirect: true,
	}, {
		Name: streamFlags, Subjects: []string{subjectRev + ">", subjectKey + ">", subjectLock + ">", subjectPresent + ">"}, MaxMsgsPerSubject: 1,
		AllowMsgTTL: true, AllowDirect: true,
	}}
	for p := range partitions {
		cfgs = append(cfgs, jetstream.StreamConfig{
			Name: fmt.Sprintf("RB_LOG_%02d", p), Subjects: []string{fmt.Sprintf("rb.log.%02d.>", p)},
			AllowMsgTTL: true, AllowDirect: true, AllowRollup: true, Duplicates: 30 * time.Second,
			MaxMsgsPerSubject: maxPerLog, RePublish: &jetstream.RePublish{
				Source: fmt.Sprintf("rb.log.%02d.>", p), Destination: fmt.Sprintf("rb.live.%02d.>", p),
			},
		})
	}
	for _, cfg := range cfgs {
		cfg.Storage, cfg.Replicas = jetstream.FileStorage, replicas
		if _, err := e.api.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("natsengine: create stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// Ping asks the server for an answer.
func (e *Engine) Ping(ctx context.Context) error {
	if e.closed() {
		return engine.ErrClosed
	}
	return e.flush(ctx)
}

// flush waits until the server has seen all that was sent to it.
func (e *Engine) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	return e.wrong(e.sub.FlushWithContext(ctx))
}

func (e *Engine) closed() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Close ends everything on this side. The data stays.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.stop()
		close(e.done)
		e.pub.Close()
		e.sub.Close()
		e.loops.Wait()
	})
	return nil
}

// wrong turns an error of the client library into ours.
func (e *Engine) wrong(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case e.closed() || errors.Is(err, nats.ErrConnectionClosed) && e.sub.IsClosed():
		return engine.ErrClosed
	case errors.As(err, &api) && (api.ErrorCode == errWrongLastSequence || api.ErrorCode == errWrongLastSequenceConst):
		return engine.ErrSuperseded
	}
	return err
}

// Error codes of the server: wrong last sequence, with and without the number.
const (
	errWrongLastSequence      = 10071
	errWrongLastSequenceConst = 10164
)

func (e *Engine) at(point string) {
	if e.fault != nil {
		e.fault(point)
	}
}
