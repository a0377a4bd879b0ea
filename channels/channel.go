package channels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Channel is one connection's place in the layer. Its methods may be called at
// once.
type Channel struct {
	hub     *Hub
	name    string
	handle  func(Event)
	handing sync.WaitGroup

	mu      sync.Mutex
	groups  []string            // few: a map would cost more than the rest of it
	present map[string]struct{} // the groups it was announced in
	waiting []Event
	handed  bool // somebody hands out what waits
	closed  bool
}

// Open makes a channel. handle gets its events one at a time and in order, on
// a goroutine that lives while some wait.
func (h *Hub) Open(handle func(Event)) (*Channel, error) {
	name, err := h.in.NewChannel(prefix)
	if err != nil {
		return nil, fmt.Errorf("channels: new channel: %w", err)
	}
	c := &Channel{hub: h, name: name, handle: handle}
	s := h.shard(name)
	s.mu.Lock()
	s.channels[name] = c
	s.mu.Unlock()
	h.stats.Channels.Add(1)
	return c, nil
}

// Name returns the channel's name, to which anyone may send.
func (c *Channel) Name() string { return c.name }

// Join makes the channel a member of a group, and returns when events sent
// from now on reach it.
func (c *Channel) Join(ctx context.Context, group string) error {
	return c.enter(ctx, "join", group, func(m *local) { m.join(c) })
}

// enter makes the channel a member of a group in some way.
func (c *Channel) enter(ctx context.Context, what, group string, as func(*local)) error {
	if err := engine.CheckGroup(group); err != nil {
		return fmt.Errorf("channels: %s: %w", what, err)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return fmt.Errorf("channels: %s %s: %w", what, group, engine.ErrClosed)
	}
	if !slices.Contains(c.groups, group) {
		c.groups = append(c.groups, group)
	}
	c.mu.Unlock()
	s := c.hub.shard(group)
	s.mu.Lock()
	if s.groups[group] == nil {
		s.groups[group] = new(local)
	}
	as(s.groups[group])
	s.mu.Unlock()
	if err := c.hub.in.Join(ctx, group, c.name); err != nil {
		c.forget(group)
		return fmt.Errorf("channels: %s %s: %w", what, group, err)
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed { // meanwhile; Close may have looked before this group was noted
		return errors.Join(c.Leave(ctx, group), fmt.Errorf("channels: %s %s: %w", what, group, engine.ErrClosed))
	}
	return nil
}

// Leave ends that, and its presence there. Leaving a group it is not in is no
// error.
func (c *Channel) Leave(ctx context.Context, group string) error {
	c.forget(group)
	err := c.absent(ctx, group)
	if left := c.hub.in.Leave(ctx, group, c.name); left != nil { // whatever became of the presence
		err = errors.Join(err, fmt.Errorf("channels: leave %s: %w", group, left))
	}
	return err
}

func (c *Channel) forget(group string) {
	c.mu.Lock()
	if i := slices.Index(c.groups, group); i >= 0 {
		c.groups = slices.Delete(c.groups, i, i+1)
	}
	c.mu.Unlock()
	s := c.hub.shard(group)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.groups[group]; m != nil && m.leave(c) {
		delete(s.groups, group)
	}
}

// Close leaves all groups, drops what waits and returns when no event is being
// handled. It must not be called by handle.
func (c *Channel) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed, c.waiting = true, nil
	groups := c.groups
	c.groups = nil
	for g := range c.present {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	c.mu.Unlock()
	var first error
	for _, g := range groups {
		if err := c.Leave(ctx, g); err != nil && first == nil {
			first = err
		}
	}
	s := c.hub.shard(c.name)
	s.mu.Lock()
	delete(s.channels, c.name)
	s.mu.Unlock()
	c.hub.stats.Channels.Add(-1)
	c.handing.Wait()
	return first
}

// push adds an event and never waits.
func (c *Channel) push(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.hub.stats.Handed.Add(1)
	if len(c.waiting) >= c.hub.opts.Capacity {
		c.waiting[0] = Event{}
		c.waiting = c.waiting[1:]
		c.hub.stats.Dropped.Add(1)
	}
	c.waiting = append(c.waiting, e)
	if !c.handed {
		c.handed = true
		c.handing.Go(c.handOut)
	}
}

// handOut handles what waits and ends when there is nothing.
func (c *Channel) handOut() {
	for {
		c.mu.Lock()
		if len(c.waiting) == 0 {
			c.handed, c.waiting = false, nil
			c.mu.Unlock()
			return
		}
		e := c.waiting[0]
		c.waiting[0] = Event{}
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		c.handle(e)
	}
}
