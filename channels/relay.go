package channels

import (
	"context"
	"sync"
)

// Relay turns the events of groups into messages for clients: once for each
// event, however many connections of this process follow the group by it. Make
// it once, as a package variable; it may be used at once.
type Relay struct {
	render func(Event) (Message, error)
}

// NewRelay makes a relay. render must not keep or change anything outside. An
// event for which it fails is logged and reaches nobody; a message without
// data is not sent.
func NewRelay(render func(Event) (Message, error)) *Relay { return &Relay{render} }

// Shared is a message for many connections, with the forms in which it goes out.
type Shared struct {
	Message

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
// that the connection has ended, of which its owner knows.
type Sink interface{ WriteShared(*Shared) error }

// followers are the connections of a group that get its events by a relay.
type followers map[*Channel]Sink

// Follow has the events of a group written to a sink, until the channel leaves
// the group or is closed. It returns when events sent from now on reach it.
// The channel's own function is not called for them, unless it has joined, too.
func (c *Channel) Follow(ctx context.Context, group string, r *Relay, to Sink) error {
	return c.enter(ctx, "follow", group, func(m *local) { m.follow(c, r, to) })
}

// relay hands an event to those who follow its group.
func (h *Hub) relay(group string, e Event) {
	s := h.shard(group)
	s.mu.RLock()
	var all []*Relay // few; what they do must not hold up the shard
	if m := s.groups[group]; m != nil {
		for r := range m.relays {
			all = append(all, r)
		}
	}
	s.mu.RUnlock()
	for _, r := range all {
		h.relayBy(group, r, e)
	}
}

func (h *Hub) relayBy(group string, r *Relay, e Event) {
	m, err := r.render(e)
	if err != nil {
		h.stats.Bad.Add(1)
		h.log.Warn("event that cannot be relayed", "group", group, "type", e.Type, "err", err)
		return
	}
	if len(m.Data) == 0 {
		return
	}
	shared := &Shared{Message: m}
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.groups[group] == nil {
		return
	}
	to := s.groups[group].relays[r]
	h.stats.Handed.Add(uint64(len(to)))
	for _, sink := range to {
		_ = sink.WriteShared(shared) // its owner knows
	}
}
