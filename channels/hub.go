package channels

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Options configures a Hub. The zero value is ready to use.
type Options struct {
	// Capacity is how many events wait for one connection; of more the oldest
	// are dropped. Zero means 100, as in Channels.
	Capacity int

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// Stats counts what happens in a hub. The zero value is ready to use.
type Stats struct {
	Channels atomic.Int64  // open now
	Events   atomic.Uint64 // received from the layer
	Handed   atomic.Uint64 // put into a connection's queue
	Dropped  atomic.Uint64 // of those, because the connection was slow
	Bad      atomic.Uint64 // received and not readable
	Failed   atomic.Uint64 // connections closed for an error of their consumer
	Resumed  atomic.Uint64 // connections that asked for what a group's history has
	Reads    atomic.Uint64 // of histories, by the engine
}

// Hub is one process's side of the layer. Its methods may be called at once.
type Hub struct {
	layer engine.Layer
	in    engine.Inbox
	opts  Options
	log   *slog.Logger
	stats Stats
	seed  maphash.Seed

	owner    string // under which this process announces who is present
	presence presence

	life   context.Context // of reads; ends with Close
	stop   context.CancelFunc
	reads  reads              // of history
	newest singleflight.Group // likewise, of its end
	lost   atomic.Uint64      // how often the connection was
	behind behind
	found  chan found

	shards [shards]shard
}

// shards spreads groups over locks, so that a publish holds up few others.
const shards = 64

type shard struct {
	mu       sync.RWMutex
	groups   map[string]*local
	channels map[string]*Channel
}

// local is the part of a group that is in this process.
type local struct {
	channels map[*Channel]struct{}
	relays   map[*Relay]*crowd

	known  bool   // how far the history is known here
	seen   uint64 // so far
	handed uint64 // the offset of the newest kept message that was handed out
}

func (m *local) join(c *Channel) {
	if m.channels == nil {
		m.channels = map[*Channel]struct{}{}
	}
	m.channels[c] = struct{}{}
}

func (m *local) follow(c *Channel, r *Relay, f *follower) {
	if m.relays == nil {
		m.relays = map[*Relay]*crowd{}
	}
	if m.relays[r] == nil {
		m.relays[r] = &crowd{place: map[*Channel]int{}}
	}
	m.relays[r].put(c, f)
}

// leave reports whether nobody is left.
func (m *local) leave(c *Channel) bool {
	delete(m.channels, c)
	for r, all := range m.relays {
		if all.remove(c); len(all.followers) == 0 {
			delete(m.relays, r)
		}
	}
	return len(m.channels) == 0 && len(m.relays) == 0
}

// prefix of channels' names, as channels_redis has it.
const prefix = "specific"

// Open attaches a process to the layer. Close it when all connections have
// gone; nothing arrives until [Hub.Run] runs.
func Open(ctx context.Context, layer engine.Layer, opts *Options) (*Hub, error) {
	h := &Hub{
		layer: layer, seed: maphash.MakeSeed(), presence: newPresence(), found: make(chan found),
		behind: behind{news: make(chan struct{}, 1), groups: map[string]struct{}{}},
	}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Capacity < 0 {
		return nil, fmt.Errorf("channels: open: capacity %d is negative", h.opts.Capacity)
	}
	if h.opts.Capacity == 0 {
		h.opts.Capacity = engine.LayerCapacity
	}
	if h.log = h.opts.Logger; h.log == nil {
		h.log = slog.Default()
	}
	for i := range h.shards {
		h.shards[i].groups = map[string]*local{}
		h.shards[i].channels = map[string]*Channel{}
	}
	var err error
	if h.in, err = layer.Attach(ctx); err != nil {
		return nil, fmt.Errorf("channels: open: %w", err)
	}
	if h.owner, err = h.in.NewChannel(prefix); err != nil {
		return nil, errors.Join(fmt.Errorf("channels: open: %w", err), h.in.Close())
	}
	h.life, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	return h, nil
}

// Stats returns the hub's counters.
func (h *Hub) Stats() *Stats { return &h.stats }

// Missed is how many events this process lost because Run did not keep up.
func (h *Hub) Missed() uint64 { return h.in.Missed() }

// Close detaches the process. Channels that are open receive nothing more.
func (h *Hub) Close() error {
	h.reads.mu.Lock() // so that no read begins any more
	h.stop()
	h.reads.mu.Unlock()
	err := h.in.Close()
	h.reads.work.Wait()
	return err
}

// Run hands out what arrives until ctx ends, and then returns nil, or until
// the engine is closed.
func (h *Hub) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	arrived, failed := make(chan []engine.Incoming), make(chan error, 1)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { h.keepPresence(ctx) })
	work.Go(func() { h.keepUp(ctx) })
	work.Go(func() { failed <- h.receive(ctx, arrived) })
	for {
		select {
		case ins := <-arrived:
			h.dispatch(ins)
		case f := <-h.found: // here, so that nothing overtakes it
			h.handFound(f)
		case err := <-failed:
			return err
		}
	}
}

// receive passes on what arrives.
func (h *Hub) receive(ctx context.Context, arrived chan<- []engine.Incoming) error {
	for {
		ins, err := h.in.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, engine.ErrClosed):
			return fmt.Errorf("channels: receive: %w", err)
		case err != nil:
			h.log.Warn("receive from the channel layer", "err", err)
			continue
		}
		select {
		case arrived <- ins:
		case <-ctx.Done():
			return nil
		}
	}
}

// maxTogether bounds how many events are handed out together.
const maxTogether = 64

// dispatch hands out what arrived, to the connections it is for. What came one
// after the other for one group is handed out together.
func (h *Hub) dispatch(ins []engine.Incoming) {
	var together []Event
	handOut := func() {
		if len(together) > 0 {
			h.handOut(together[0].group, together...)
			together = together[:0]
		}
	}
	for _, in := range ins {
		e, ok := h.take(in)
		if !ok {
			continue
		}
		if len(together) == maxTogether || len(together) > 0 && together[0].group != e.group {
			handOut()
		}
		if e.group != "" {
			together = append(together, e)
			continue
		}
		h.handTo(in.Channels, e)
	}
	handOut()
}

// take reads what arrived, and reports whether it is to be handed out now.
func (h *Hub) take(in engine.Incoming) (Event, bool) {
	if in.Lost {
		h.lost.Add(1)
		h.fallBehind(in.Group)
		return Event{}, false
	}
	h.stats.Events.Add(1)
	e, ok := h.event(in.Group, in.Body, in.Offset)
	if in.Offset != 0 && !h.inOrder(in) {
		return Event{}, false
	}
	return e, ok
}

// handTo hands an event to channels of this process.
func (h *Hub) handTo(names []string, e Event) {
	for _, name := range names {
		s := h.shard(name)
		s.mu.RLock()
		c := s.channels[name]
		s.mu.RUnlock()
		if c != nil {
			c.push(e)
		}
	}
}

// event reads what came. One bad sender must not close anybody's connection.
func (h *Hub) event(group string, body []byte, offset uint64) (Event, bool) {
	e, err := ReadEvent(body)
	if err != nil {
		h.stats.Bad.Add(1)
		h.log.Warn("event that cannot be read", "group", group, "err", err)
		return Event{}, false
	}
	e.group, e.offset = group, offset
	return e, true
}

// inOrder reports whether a kept message is to be handed out now. Where one
// before it was missed, both are read later.
func (h *Hub) inOrder(in engine.Incoming) bool {
	if seen, known := h.seen(in.Group); known && in.Before > seen {
		h.fallBehind(in.Group)
		return false
	}
	return h.hand(in.Group, in.Offset)
}

// handOut hands events to the connections of a group in this process.
func (h *Hub) handOut(group string, events ...Event) {
	h.relay(group, events)
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if m := s.groups[group]; m != nil {
		for c := range m.channels {
			for _, e := range events {
				c.push(e)
			}
		}
	}
}

func (h *Hub) shard(name string) *shard {
	return &h.shards[maphash.String(h.seed, name)%shards]
}

// Send sends an event to one channel, of this process or another.
func (h *Hub) Send(ctx context.Context, channel string, e Event) error {
	return Send(ctx, h.layer, channel, e)
}

// GroupSend sends an event to all connections of a group.
func (h *Hub) GroupSend(ctx context.Context, group string, e Event, opts ...SendOption) error {
	return GroupSend(ctx, h.layer, group, e, opts...)
}

// Send sends an event to one channel. It needs no hub: a task or a command
// sends with the engine's layer alone. [engine.ErrFull] means that a plain
// channel holds its capacity.
func Send(ctx context.Context, layer engine.Layer, channel string, e Event) error {
	if err := layer.Send(ctx, []engine.LayerMessage{{To: channel, Body: e.body}})[0]; err != nil {
		return fmt.Errorf("channels: send to %s: %w", channel, err)
	}
	return nil
}

// GroupSend sends an event to all connections of a group. It needs no hub.
func GroupSend(ctx context.Context, layer engine.Layer, group string, e Event, opts ...SendOption) error {
	var s sending
	for _, o := range opts {
		o(&s)
	}
	msgs := []engine.LayerMessage{{To: group, Body: e.body}}
	var err error
	switch {
	case s.keep < 0:
		err = fmt.Errorf("it cannot be kept for %v", s.keep)
	case s.keep > 0:
		err = layer.GroupKeep(ctx, msgs, s.keep)[0]
	default:
		err = layer.GroupSend(ctx, msgs)[0]
	}
	if err != nil {
		return fmt.Errorf("channels: send to group %s: %w", group, err)
	}
	return nil
}
