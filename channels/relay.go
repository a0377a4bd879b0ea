package channels

import (
	"context"
	"sync"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Relay turns the events of groups into messages for clients: once for each
// event, however many connections of this process follow the group by it. Make
// it once, as a package variable; it may be used at once.
type Relay struct {
	// Gap, if it has data, is sent where messages of a group's history are
	// missing: they are kept no more.
	Gap Message

	render func(Event) (Message, error)
}

// NewRelay makes a relay. render must not keep or change anything outside. An
// event for which it fails is logged and reaches nobody; a message without
// data is not sent.
func NewRelay(render func(Event) (Message, error)) *Relay { return &Relay{render: render} }

// Shared is a message for many connections, with the forms in which it goes out.
type Shared struct {
	Message

	offset uint64 // in the group's history, 0 if it is not kept

	mu    sync.Mutex
	forms []form
}

type form struct {
	key   int
	bytes []byte
	err   error
}

// Form returns what encode made when it was first asked for under the key,
// which is the transport's.
func (s *Shared) Form(key int, encode func(Message) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.forms {
		if f.key == key {
			return f.bytes, f.err
		}
	}
	f := form{key: key}
	f.bytes, f.err = encode(s.Message)
	s.forms = append(s.forms, f)
	return f.bytes, f.err
}

// Sink takes messages that go to many. WriteShared never waits. Its error says
// that the connection has ended, of which its owner knows. A sink with a method
// Flush(context.Context) error, which waits until all is written, gets a long
// history no faster than its client reads.
type Sink interface{ WriteShared(*Shared) error }

// follower is a connection that gets a group's events by a relay.
type follower struct {
	sink Sink

	mu     sync.Mutex
	last   uint64   // the offset of the newest message that was written
	behind *waiting // what is live waits for a replay; nil after it
}

type waiting struct {
	messages []*Shared
	overrun  bool // some were dropped
}

// maxWaiting bounds what is live and waits for a replay; of kept messages that
// are dropped for it, the replay goes on to read.
const maxWaiting = 256

// offer writes a message that is live, once, and in its place.
func (f *follower) offer(m *Shared) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.behind == nil:
		f.writeLocked(m)
	case len(f.behind.messages) < maxWaiting:
		f.behind.messages = append(f.behind.messages, m)
	default:
		*f.behind = waiting{overrun: true}
	}
}

func (f *follower) writeLocked(m *Shared) {
	if m.offset != 0 {
		if m.offset <= f.last {
			return
		}
		f.last = m.offset
	}
	_ = f.sink.WriteShared(m) // its owner knows
}

// Follow has the events of a group written to a sink, until the channel leaves
// the group or is closed. It returns when events sent from now on reach it.
// The channel's own function is not called for them, unless it has joined, too.
func (c *Channel) Follow(ctx context.Context, group string, r *Relay, to Sink) error {
	f := &follower{sink: to}
	return c.enter(ctx, "follow", group, func(l *local) { l.follow(c, r, f) })
}

// relay hands an event to those who follow its group.
func (h *Hub) relay(group string, e Event) {
	for _, r := range h.relays(group) {
		if m, ok := h.render(r, e); ok {
			h.offer(group, r, m)
		}
	}
}

// relays are those by which a group is followed: few. What they do must not
// hold up the shard.
func (h *Hub) relays(group string) (all []*Relay) {
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.groups[group]; l != nil {
		for r := range l.relays {
			all = append(all, r)
		}
	}
	return all
}

// render reports whether there is something to send.
func (h *Hub) render(r *Relay, e Event) (*Shared, bool) {
	m, err := r.render(e)
	if err != nil {
		h.stats.Bad.Add(1)
		h.log.Warn("event that cannot be relayed", "group", e.group, "type", e.Type, "err", err)
		return nil, false
	}
	return &Shared{Message: m, offset: e.offset}, len(m.Data) > 0
}

func (h *Hub) offer(group string, r *Relay, m *Shared) {
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.groups[group] == nil {
		return
	}
	to := s.groups[group].relays[r]
	h.stats.Handed.Add(uint64(len(to)))
	for _, f := range to {
		f.offer(m)
	}
}

// Position is the event's place in its group's history, from which a client
// goes on; empty if the group does not keep it.
func (e Event) Position() engine.Position {
	if e.offset == 0 {
		return ""
	}
	return engine.Cursor{Offset: e.offset}.Position(e.group)
}
