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

// Sink takes messages that go to many, several if they came together.
// WriteShared never waits, and does not keep the slice. Its error says that the
// connection has ended, of which its owner knows. A sink with a method
// Flush(context.Context) error, which waits until all is written, gets a long
// history no faster than its client reads.
type Sink interface {
	WriteShared(messages ...*Shared) error
}

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

// crowd is those who follow a group by one relay. They have an order, so that
// what comes next goes the way of what was written before: whoever is still to
// be written to then gets both in one write.
type crowd struct {
	followers []*follower
	channels  []*Channel // of them
	place     map[*Channel]int
}

func (a *crowd) put(c *Channel, f *follower) {
	if i, there := a.place[c]; there {
		a.followers[i] = f
		return
	}
	a.place[c] = len(a.followers)
	a.followers, a.channels = append(a.followers, f), append(a.channels, c)
}

// remove puts the last one into the place of c, if that is there.
func (a *crowd) remove(c *Channel) {
	i, there := a.place[c]
	if !there {
		return
	}
	last := len(a.followers) - 1
	a.followers[i], a.channels[i] = a.followers[last], a.channels[last]
	a.place[a.channels[i]] = i
	delete(a.place, c)
	a.followers[last], a.channels[last] = nil, nil
	a.followers, a.channels = a.followers[:last], a.channels[:last]
}

// maxWaiting bounds what is live and waits for a replay; of kept messages that
// are dropped for it, the replay goes on to read.
const maxWaiting = 256

// offer writes messages that are live, each once and in its place.
func (f *follower) offer(messages []*Shared) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.behind == nil:
		f.writeLocked(messages)
	case len(f.behind.messages)+len(messages) <= maxWaiting:
		f.behind.messages = append(f.behind.messages, messages...)
	default:
		*f.behind = waiting{overrun: true}
	}
}

// writeLocked writes those that were not written before.
func (f *follower) writeLocked(messages []*Shared) {
	from := 0
	for i, m := range messages {
		switch {
		case m.offset == 0:
		case m.offset > f.last:
			f.last = m.offset
		default:
			f.write(messages[from:i])
			from = i + 1
		}
	}
	f.write(messages[from:])
}

func (f *follower) write(messages []*Shared) {
	if len(messages) > 0 {
		_ = f.sink.WriteShared(messages...) // its owner knows
	}
}

// Follow has the events of a group written to a sink, until the channel leaves
// the group or is closed. It returns when events sent from now on reach it.
// The channel's own function is not called for them, unless it has joined, too.
func (c *Channel) Follow(ctx context.Context, group string, r *Relay, to Sink) error {
	f := &follower{sink: to}
	return c.enter(ctx, "follow", group, func(l *local) { l.follow(c, r, f) })
}

// relay hands events to those who follow their group. Each of them gets all
// before the next one does, so that they are written together.
func (h *Hub) relay(group string, events []Event) {
	for _, r := range h.relays(group) {
		messages := make([]*Shared, 0, len(events))
		for _, e := range events {
			if m, ok := h.render(r, e); ok {
				messages = append(messages, m)
			}
		}
		h.offer(group, r, messages...)
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

func (h *Hub) offer(group string, r *Relay, messages ...*Shared) {
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.groups[group] == nil || len(messages) == 0 {
		return
	}
	to := s.groups[group].relays[r]
	if to == nil {
		return
	}
	h.stats.Handed.Add(uint64(len(to.followers) * len(messages)))
	for _, f := range to.followers {
		f.offer(messages)
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
