package channels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Member is somebody who is present in a group: one connection, or several of
// one id.
type Member struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"info,omitempty"` // what others should know, such as a name
	// Count is how many connections there are. Set by [Hub.Members].
	Count int `json:"count,omitempty"`
}

// Presence is what the events [PresenceJoin] and [PresenceLeave] carry: each
// time a connection comes or goes. One that a process took with it when it
// died is told to have left within twenty seconds.
type Presence struct {
	Group string `json:"group"`
	ID    string `json:"id"`
	Info  string `json:"info,omitempty"` // JSON
}

// Types of the events about presence, which all of the group get.
const (
	PresenceJoin  = "presence.join"
	PresenceLeave = "presence.leave"
)

// MaxInfo bounds what is told of a member, in bytes.
const MaxInfo = 4096

const (
	// presenceLease is how long a process that died is still there.
	presenceLease = 15 * time.Second
	presenceBeat  = 5 * time.Second
)

// presence is who is present through this hub.
type presence struct {
	wake chan struct{} // the first has come

	turn chan struct{} // full while somebody announces: in the order of the changes

	mu     sync.Mutex
	groups map[string]*roster
}

type roster struct {
	here   map[*Channel]Member
	others map[string][]Member // by owner, as last seen
}

func newPresence() presence {
	return presence{wake: make(chan struct{}, 1), turn: make(chan struct{}, 1), groups: map[string]*roster{}}
}

// Present announces the channel in a group as a member, in place of what it
// announced before, until it leaves the group or is closed. An id has up to
// 255 bytes, the info [MaxInfo]. It should have
// joined the group, else it does not hear of others.
func (c *Channel) Present(ctx context.Context, group string, m Member) error {
	if m.ID == "" || len(m.ID) > engine.MaxID {
		return fmt.Errorf("channels: present in %s: the member's id has %d bytes, it needs 1 to %d", group, len(m.ID), engine.MaxID)
	}
	if len(m.Info) > MaxInfo || m.Info != nil && !json.Valid(m.Info) {
		return fmt.Errorf("channels: present in %s: the member's info is not JSON of up to %d bytes", group, MaxInfo)
	}
	if err := engine.CheckGroup(group); err != nil {
		return fmt.Errorf("channels: present: %w", err)
	}
	m.Count = 0
	c.mu.Lock()
	closed := c.closed
	if !closed {
		if c.present == nil {
			c.present = map[string]struct{}{}
		}
		c.present[group] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		return fmt.Errorf("channels: present in %s: %w", group, engine.ErrClosed)
	}
	if err := c.hub.changePresence(ctx, group, c, &m); err != nil {
		return err
	}
	c.mu.Lock()
	closed = c.closed
	c.mu.Unlock()
	if closed { // meanwhile; Close may have left before this was announced
		return errors.Join(c.hub.changePresence(ctx, group, c, nil), fmt.Errorf("channels: present in %s: %w", group, engine.ErrClosed))
	}
	return nil
}

// absent ends the channel's presence in a group, if there is one.
func (c *Channel) absent(ctx context.Context, group string) error {
	c.mu.Lock()
	_, present := c.present[group]
	delete(c.present, group)
	c.mu.Unlock()
	if !present {
		return nil
	}
	return c.hub.changePresence(ctx, group, c, nil)
}

// changePresence notes who is here, announces it and tells the group.
func (h *Hub) changePresence(ctx context.Context, group string, c *Channel, m *Member) error {
	select {
	case h.presence.turn <- struct{}{}:
		defer func() { <-h.presence.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before, was := h.presence.set(group, c, m)
	if err := h.announce(ctx, group); err != nil {
		if m != nil && was {
			h.presence.set(group, c, &before)
		} else if m != nil {
			h.presence.set(group, c, nil)
		}
		return err
	}
	select {
	case h.presence.wake <- struct{}{}:
	default:
	}
	var errs []error
	if was && (m == nil || m.ID != before.ID) {
		errs = append(errs, h.tellPresence(ctx, PresenceLeave, group, before))
	}
	if m != nil && (!was || m.ID != before.ID) {
		errs = append(errs, h.tellPresence(ctx, PresenceJoin, group, *m))
	}
	return errors.Join(errs...)
}

func (p *presence) set(group string, c *Channel, m *Member) (before Member, was bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.groups[group]
	if r == nil {
		r = &roster{here: map[*Channel]Member{}}
		p.groups[group] = r
	}
	before, was = r.here[c]
	if m != nil {
		r.here[c] = *m
		return before, was
	}
	if delete(r.here, c); len(r.here) == 0 {
		delete(p.groups, group)
	}
	return before, was
}

// announce says who is here.
func (h *Hub) announce(ctx context.Context, group string) error {
	h.presence.mu.Lock()
	var members []Member
	if r := h.presence.groups[group]; r != nil {
		for _, m := range r.here {
			members = append(members, m)
		}
	}
	h.presence.mu.Unlock()
	var raw []byte
	if len(members) > 0 {
		var err error
		if raw, err = writeMembers(members); err != nil {
			return fmt.Errorf("channels: announce in %s: %w", group, err)
		}
	}
	if err := h.layer.Announce(ctx, group, h.owner, raw, presenceLease); err != nil {
		return fmt.Errorf("channels: announce in %s: %w", group, err)
	}
	return nil
}

func (h *Hub) tellPresence(ctx context.Context, typ, group string, m Member) error {
	e, err := NewEvent(typ, Presence{Group: group, ID: m.ID, Info: string(m.Info)})
	if err != nil {
		return err
	}
	return h.GroupSend(ctx, group, e)
}

// Members returns who is present in a group, in all processes, by id.
func (h *Hub) Members(ctx context.Context, group string) ([]Member, error) {
	return Members(ctx, h.layer, group)
}

// Members returns who is present in a group, by id. It needs no hub.
func Members(ctx context.Context, layer engine.Layer, group string) ([]Member, error) {
	owners, err := owners(ctx, layer, group)
	if err != nil {
		return nil, fmt.Errorf("channels: members of %s: %w", group, err)
	}
	byID := map[string]Member{}
	for _, members := range owners {
		for _, m := range members {
			m.Count = byID[m.ID].Count + 1
			byID[m.ID] = m
		}
	}
	out := make([]Member, 0, len(byID))
	for _, m := range byID {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func owners(ctx context.Context, layer engine.Layer, group string) (map[string][]Member, error) {
	raw, err := layer.Present(ctx, group)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]Member, len(raw))
	for owner, b := range raw {
		members, err := readMembers(b)
		if err != nil {
			return nil, fmt.Errorf("what %s announced: %w", owner, err)
		}
		out[owner] = members
	}
	return out, nil
}

func writeMembers(members []Member) ([]byte, error) { return json.Marshal(members) }

// readMembers reads what a process announced.
func readMembers(b []byte) (members []Member, err error) {
	err = json.Unmarshal(b, &members)
	return members, err
}

// keepPresence renews what is announced while anybody is here, and tells of
// those whose process has died.
func (h *Hub) keepPresence(ctx context.Context) {
	tick := time.NewTicker(presenceBeat)
	defer tick.Stop()
	for {
		groups := h.presence.names()
		if len(groups) == 0 {
			tick.Stop()
			select {
			case <-h.presence.wake:
				tick.Reset(presenceBeat)
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, g := range groups {
			if err := h.refresh(ctx, g); err != nil && ctx.Err() == nil {
				h.log.Warn("renew presence", "group", g, "err", err)
			}
		}
	}
}

func (p *presence) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.groups))
	for g := range p.groups {
		out = append(out, g)
	}
	return out
}

func (h *Hub) refresh(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(ctx, presenceBeat)
	defer cancel()
	select {
	case h.presence.turn <- struct{}{}:
		defer func() { <-h.presence.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := h.announce(ctx, group); err != nil {
		return err
	}
	now, err := owners(ctx, h.layer, group)
	if err != nil {
		return err
	}
	for _, m := range h.presence.gone(group, now) {
		if e, err := NewEvent(PresenceLeave, Presence{Group: group, ID: m.ID, Info: string(m.Info)}); err == nil {
			h.handOut(group, e) // each process tells its own
		}
	}
	return nil
}

// gone returns the members of owners that are there no more.
func (p *presence) gone(group string, now map[string][]Member) (left []Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.groups[group]
	if r == nil {
		return nil
	}
	for owner, members := range r.others {
		if _, there := now[owner]; !there {
			left = append(left, members...)
		}
	}
	r.others = now
	return left
}
