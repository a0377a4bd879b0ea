package channels

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// SendOption says more about a message to a group.
type SendOption func(*sending)

type sending struct{ keep time.Duration }

// Keep stores the event in the group's history for that long, rounded up to
// whole seconds. A group holds the newest [engine.HistoryCapacity].
func Keep(age time.Duration) SendOption { return func(s *sending) { s.keep = age } }

// Replay says what of a group's history comes before what is new. The zero
// value is all that is kept.
type Replay struct {
	// After is the position of the last event that the client has; what came
	// later is replayed. Where it is kept no more, the relay's Gap comes first
	// and then all that is. After a position of another group the Gap comes,
	// and nothing is replayed.
	After engine.Position

	// Last bounds what a client without a position gets to the newest ones.
	// Zero is no bound, negative is none of them.
	Last int
}

const (
	historyPage = 128
	historyWait = 10 * time.Second // for one read

	// replayAhead is how many bytes of history are written before the client
	// must have taken them.
	replayAhead = 128 << 10
)

// Resume is [Channel.Follow] with what the group's history has first: each
// event once and in order, also those that are sent meanwhile. It returns when
// the history is written.
func (c *Channel) Resume(ctx context.Context, group string, r *Relay, to Sink, from Replay) error {
	f := &follower{sink: to, behind: new(waiting)}
	if err := c.enter(ctx, "resume", group, func(l *local) { l.follow(c, r, f) }); err != nil {
		return err
	}
	if err := c.hub.replay(ctx, group, r, f, from); err != nil {
		return errors.Join(fmt.Errorf("channels: resume %s: %w", group, err), c.Leave(context.WithoutCancel(ctx), group))
	}
	return nil
}

// replay writes the history, then what was live meanwhile.
func (h *Hub) replay(ctx context.Context, group string, r *Relay, f *follower, from Replay) error {
	cur, err := from.After.Cursor(group)
	if err != nil || from.After == "" && from.Last < 0 {
		if err != nil {
			f.gap(r)
		}
		f.catchUp()
		return nil
	}
	w, losses := replayer{hub: h, group: group, relay: r, f: f, since: h.order.Add(1)}, h.lost.Load()
	if from.After == "" && from.Last > 0 {
		if cur.Offset, err = h.before(ctx, group, from.Last); err != nil {
			return err
		}
	}
	f.last = cur.Offset // nobody else writes yet
	for {
		more, err := w.page(ctx)
		if err != nil {
			return err
		}
		if !more && f.catchUp() {
			h.noteSeen(group, f)
			if h.lost.Load() != losses {
				h.missed(ctx, group)
			}
			return nil
		}
	}
}

// replayer writes one group's history to one follower.
type replayer struct {
	hub   *Hub
	group string
	relay *Relay
	f     *follower
	since uint64 // in the hub's order, when it began
	ahead int    // bytes written since the client took all
}

// page writes some of the history and reports whether there may be more.
func (w *replayer) page(ctx context.Context) (more bool, err error) {
	p, err := w.hub.historyPage(ctx, w.group, w.relay, w.f.last, w.since)
	if err != nil {
		return false, err
	}
	if p.gone {
		w.f.gap(w.relay)
		w.f.last = 0
	}
	for _, m := range p.shared {
		w.f.mu.Lock()
		w.f.writeLocked(m)
		w.f.mu.Unlock()
		if w.ahead += len(m.Data); w.ahead > replayAhead {
			if err := w.flush(ctx); err != nil {
				return false, err
			}
		}
	}
	w.f.last = max(w.f.last, p.last)
	return p.full, nil
}

func (w *replayer) flush(ctx context.Context) error {
	w.ahead = 0
	if to, ok := w.f.sink.(interface{ Flush(context.Context) error }); ok {
		return to.Flush(ctx)
	}
	return nil
}

func (f *follower) gap(r *Relay) {
	if len(r.Gap.Data) > 0 {
		_ = f.sink.WriteShared(&Shared{Message: r.Gap}) // its owner knows
	}
}

// catchUp writes what was live during the replay and ends it, unless some of
// that was dropped: then there is more to read.
func (f *follower) catchUp() (done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind.overrun {
		f.behind.overrun = false
		return false
	}
	for _, m := range f.behind.messages {
		f.writeLocked(m)
	}
	f.behind = nil
	return true
}

// page is a part of a history, rendered.
type page struct {
	shared []*Shared
	began  uint64 // in the hub's order, when it was read
	last   uint64 // the offset of its last message, 0 if it has none
	gone   bool
	full   bool // there may be more
}

// historyPage reads and renders what comes after an offset. At a storm of
// reconnections, clients that ask for the same share one read. It is one that
// began later than since: an older one lacks what was live just before the
// client came.
func (h *Hub) historyPage(ctx context.Context, group string, r *Relay, after, since uint64) (*page, error) {
	key := fmt.Sprintf("%s %p %s", group, r, strconv.FormatUint(after, 16))
	for {
		answer := h.reads.DoChan(key, func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyWait) // it is not the first one's alone
			defer cancel()
			return h.readPage(ctx, group, r, after)
		})
		select {
		case a := <-answer:
			if p, ok := a.Val.(*page); a.Err != nil || ok && p.began > since {
				return p, a.Err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (h *Hub) readPage(ctx context.Context, group string, r *Relay, after uint64) (*page, error) {
	h.stats.Reads.Add(1)
	p := &page{began: h.order.Add(1)}
	kept, gone, err := h.layer.History(ctx, group, after, historyPage)
	if err != nil {
		return nil, err
	}
	p.gone, p.full = gone, len(kept) == historyPage
	for _, k := range kept {
		p.last = k.Offset
		if e, ok := h.event(group, k.Body, k.Offset); ok {
			if m, ok := h.render(r, e); ok {
				p.shared = append(p.shared, m)
			}
		}
	}
	return p, nil
}

// before returns the offset after which the newest n messages come.
func (h *Hub) before(ctx context.Context, group string, n int) (uint64, error) {
	kept, _, err := h.layer.History(ctx, group, 0, engine.HistoryCapacity)
	if err != nil || len(kept) <= n {
		return 0, err
	}
	return kept[len(kept)-n-1].Offset, nil
}

// History returns up to most events that a group keeps, the oldest first: those
// after a position, or from the oldest on if it is empty. gone says that the
// position is kept no more, and that some events in between may be missing; it
// then begins with the oldest. [engine.ErrPosition] is for a position of
// another group.
func (h *Hub) History(ctx context.Context, group string, after engine.Position, most int) (events []Event, gone bool, err error) {
	cur, err := after.Cursor(group)
	if err != nil {
		return nil, false, fmt.Errorf("channels: history of %s: %w", group, err)
	}
	kept, gone, err := h.layer.History(ctx, group, cur.Offset, most)
	if err != nil {
		return nil, false, fmt.Errorf("channels: history of %s: %w", group, err)
	}
	for _, k := range kept {
		if e, ok := h.event(group, k.Body, k.Offset); ok {
			events = append(events, e)
		}
	}
	return events, gone, nil
}

// Newest returns the position of the newest event that a group keeps, as far as
// this process knows: that from which a newcomer goes on who wants nothing old.
// It is a position also where nothing is kept yet.
func (h *Hub) Newest(ctx context.Context, group string) (engine.Position, error) {
	if offset, known := h.seen(group); known {
		return engine.Cursor{Offset: offset}.Position(group), nil
	}
	answer := h.reads.DoChan("newest "+group, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), historyWait) // it is not the first one's alone
		defer cancel()
		return h.before(ctx, group, 0)
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return "", fmt.Errorf("channels: history of %s: %w", group, a.Err)
		}
		offset, _ := a.Val.(uint64)
		return engine.Cursor{Offset: offset}.Position(group), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// noteSeen says how far a group's history was read, if nobody knows yet, so that
// what is missed from now on is noticed.
func (h *Hub) noteSeen(group string, f *follower) {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	s := h.shard(group)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.groups[group]; l != nil && !l.known {
		l.known, l.seen = true, last
	}
}

// seen reports how far this process knows a group's history, if it does.
func (h *Hub) seen(group string) (offset uint64, known bool) {
	s := h.shard(group)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := s.groups[group]; l != nil {
		return l.seen, l.known
	}
	return 0, false
}

// hand notes that a kept message is handed out. It reports false if it was.
func (h *Hub) hand(group string, offset uint64) bool {
	s := h.shard(group)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.groups[group]
	if l == nil {
		return true
	}
	fresh := offset > l.handed
	l.known, l.handed, l.seen = true, max(l.handed, offset), max(l.seen, offset)
	return fresh
}

// missed reads what a group keeps and this process did not hear.
func (h *Hub) missed(ctx context.Context, group string) {
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	select {
	case h.catching <- struct{}{}:
		defer func() { <-h.catching }()
	case <-ctx.Done():
		return
	}
	for {
		seen, known := h.seen(group)
		if !known {
			return // nobody here follows a history
		}
		kept, gone, err := h.layer.History(ctx, group, seen, historyPage)
		if err != nil {
			h.log.Warn("read what a group missed", "group", group, "err", err)
			return
		}
		if gone {
			h.tellGap(group)
		}
		if len(kept) == 0 {
			return
		}
		for _, k := range kept {
			fresh := h.hand(group, k.Offset)
			if e, ok := h.event(group, k.Body, k.Offset); ok && fresh {
				h.handOut(group, e)
			}
		}
	}
}

func (h *Hub) tellGap(group string) {
	for _, r := range h.relays(group) {
		if len(r.Gap.Data) > 0 {
			h.offer(group, r, &Shared{Message: r.Gap})
		}
	}
}
