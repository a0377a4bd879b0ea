package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// ServerOptions configures a Server. The zero value is ready to use.
type ServerOptions struct {
	// Clock is the logical clock that this process shares between its events
	// and its remote control. Nil means one of the server's own.
	Clock *celery.Clock

	// Logger gets what an operator should know; nil means slog.Default().
	// Requests are logged at Debug, what changes the node at Info.
	Logger *slog.Logger
}

// Server answers for a node. It is made once and its Run is called once at a
// time; the other methods may be called at once and at any time.
type Server struct {
	broker  engine.Broker
	name    string
	node    Node
	clock   *celery.Clock
	log     *slog.Logger
	client  *Client
	revoked *memory
	stamps  stamps

	requests, malformed atomic.Uint64
}

// requestTime bounds the work on one request, in which a node may have to wait
// for the engine.
const requestTime = 10 * time.Second

// NewServer makes a server for the node of that name, for example celery@host.
func NewServer(broker engine.Broker, name string, node Node, opts *ServerOptions) (*Server, error) {
	if broker == nil || node == nil || name == "" {
		return nil, errors.New("control: new server: a broker, a node and its name are needed")
	}
	s := &Server{broker: broker, name: name, node: node, revoked: newMemory()}
	if opts != nil {
		s.clock, s.log = opts.Clock, opts.Logger
	}
	if s.clock == nil {
		s.clock = new(celery.Clock)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	var err error
	s.client, err = New(broker, &Options{Clock: s.clock})
	return s, err
}

// Run answers requests until ctx ends, one after the other, so that a flood of
// them takes no more than one goroutine from the tasks; what the engine cannot
// keep for it meanwhile is lost. It first asks the other nodes what they know
// (see [Server.Revoked]). An error means that the engine cannot be heard any
// more.
func (s *Server) Run(ctx context.Context) error {
	messages, err := s.broker.Listen(ctx, topicRequests)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("control: listen for requests: %w", err)
	}
	var mingling sync.WaitGroup
	defer mingling.Wait()
	mingling.Go(func() { s.mingle(ctx) })
	for m := range messages {
		s.serve(ctx, m)
	}
	if ctx.Err() == nil {
		return fmt.Errorf("control: listen for requests: %w", engine.ErrClosed)
	}
	return nil
}

// Requests returns how many requests were meant for this node, and Malformed
// how many of all that came could not be read.
func (s *Server) Requests() uint64  { return s.requests.Load() }
func (s *Server) Malformed() uint64 { return s.malformed.Load() }

// Revoked reports whether somebody revoked the task, on this node or, before it
// started, on another. It forgets after three hours, and of more than 50,000
// ids the oldest.
func (s *Server) Revoked(id string) bool { return s.revoked.has(id) }

// serve handles one message.
func (s *Server) serve(ctx context.Context, m engine.Message) {
	r, err := readRequest(m)
	if r != nil {
		s.clock.Adjust(r.clock)
	}
	if err != nil {
		s.malformed.Add(1)
		s.log.Debug("control request cannot be read", "err", err)
	}
	if r == nil {
		return
	}
	ours, wrong := r.to.includes(s.name)
	if wrong != nil {
		ours, err = true, wrong // whoever asks should hear why nobody answers
	}
	if !ours {
		return
	}
	s.requests.Add(1)
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var value any
	if err == nil {
		s.log.Debug("control request", "method", r.method)
		value, err = s.run(ctx, r)
	}
	if errors.Is(err, errNoReply) || r.replyTo == "" {
		return
	}
	if err != nil {
		value = nok(reprOf(err))
	}
	s.reply(ctx, r, value)
}

// errNoReply: the command is one that is not answered.
var errNoReply = errors.New("no reply")

// run calls the command. kombu/pidbox.py Node.handle.
func (s *Server) run(ctx context.Context, r *request) (any, error) {
	cmd, ok := panel[r.method]
	if !ok {
		return nil, failure{"KeyError", r.method}
	}
	fn := cmd.name
	if fn == "" {
		fn = r.method
	}
	if err := r.args.check(fn, cmd.need, cmd.may, cmd.open); err != nil {
		return nil, err
	}
	return cmd.run(s, ctx, r.args)
}

// reply answers. kombu/pidbox.py Mailbox._publish_reply.
func (s *Server) reply(ctx context.Context, r *request, value any) {
	m, err := s.answer(r, value)
	if err == nil && len(m.Body)+len(m.Headers) > engine.MaxMessage {
		m, err = s.answer(r, nok(failure{"ValueError", fmt.Sprintf("the reply has %d bytes, at most %d are carried", len(m.Body), engine.MaxMessage)}.Error()))
	}
	if err == nil {
		err = s.broker.Broadcast(ctx, topicReplies(r.replyTo), m)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("answer control request", "method", r.method, "err", err)
	}
}

func (s *Server) answer(r *request, value any) (engine.Message, error) {
	return message(replyHeaders{Ticket: r.ticket, Clock: s.clock.Forward()}, map[string]any{s.name: value})
}

// mingle asks the other nodes for their clocks and for what was revoked while
// this one was away. celery/worker/consumer/mingle.py.
func (s *Server) mingle(ctx context.Context) {
	err := s.client.Each(ctx, Command{"hello", struct {
		FromNode string           `json:"from_node"`
		Revoked  map[string][]any `json:"revoked"`
	}{s.name, s.known()}}, func(node string, raw json.RawMessage) {
		if node == s.name {
			return
		}
		var other struct {
			Clock   float64    `json:"clock"`
			Revoked revokedIDs `json:"revoked"`
		}
		if err := json.Unmarshal(raw, &other); err != nil {
			s.log.Debug("hello of another node cannot be read", "node", node, "err", err)
			return
		}
		if other.Clock > 0 {
			s.clock.Adjust(uint64(other.Clock))
		}
		s.revoked.add(other.Revoked...)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("ask the other nodes", "err", err)
	}
}

// revokedIDs is what another node knows as revoked: a list of ids or, before
// Celery 5.7, a map of them. The times in it are of that host's clock and mean
// nothing here.
type revokedIDs []string

// UnmarshalJSON reads either. Of ids that are too many the rest is dropped.
func (r *revokedIDs) UnmarshalJSON(raw []byte) error {
	var ids []string
	var times map[string]json.RawMessage
	if err := json.Unmarshal(raw, &times); err == nil {
		ids = slices.Sorted(maps.Keys(times))
	} else if err := json.Unmarshal(raw, &ids); err != nil {
		return err
	}
	*r = ids[:min(len(ids), maxRevoked)]
	return nil
}

// maxHello bounds the ids that one hello carries, newest last: 5,000 of the
// longest names would be more than a message may have.
const maxHello = 3000

// known writes our revoked ids as Python keeps them: {id: [time, id]}, with the
// seconds of this host's monotonic clock. celery/utils/collections.py
// LimitedSet.
func (s *Server) known() map[string][]any {
	ids, ages := s.revoked.list()
	if n := len(ids); n > maxHello {
		ids, ages = ids[n-maxHello:], ages[n-maxHello:]
	}
	now := monotonic()
	out := make(map[string][]any, len(ids))
	for i, id := range ids {
		out[id] = []any{seconds((now - ages[i]).Seconds()), id}
	}
	return out
}
