package channels

import (
	"context"
	"errors"
	"fmt"
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

	// resumeWait is how long who resumes waits for an engine that is away.
	resumeWait = 30 * time.Second

	// acceptWait is how long it does so before it is accepted.
	acceptWait = 2 * time.Second

	// replayAhead is how many bytes of history are written before the client
	// must have taken them.
	replayAhead = 128 << 10
)

// Resume is [Channel.Follow] with what the group's history has first: each
// event once and in order, also those that are sent meanwhile. It returns when
// the history is written. If the engine is away it waits for it, for half a
// minute at most.
func (c *Channel) Resume(ctx context.Context, group string, r *Relay, to Sink, from Replay) error {
	w := c.replayer(group, r, to)
	if err := w.enter(ctx, "resume", resumeWait); err != nil {
		return err
	}
	return w.finish(ctx, from)
}

// replayer writes one group's history to one follower.
type replayer struct {
	c     *Channel
	hub   *Hub
	group string
	relay *Relay
	f     *follower
	until time.Time // the engine is waited for
	ahead int       // bytes written since the client took all
}

func (c *Channel) replayer(group string, r *Relay, to Sink) *replayer {
	return &replayer{c: c, hub: c.hub, group: group, relay: r, f: &follower{sink: to, behind: new(waiting)}}
}

// enter has the group's events come, and wait. It waits for an engine that is
// away for so long at most.
func (w *replayer) enter(ctx context.Context, what string, most time.Duration) error {
	w.until = time.Now().Add(most)
	return w.patiently(ctx, func() error {
		return w.c.enter(ctx, what, w.group, func(l *local) { l.follow(w.c, w.relay, w.f) })
	})
}

// finish writes the history, and then what waits.
func (w *replayer) finish(ctx context.Context, from Replay) error {
	w.until = time.Now().Add(resumeWait)
	if err := w.replay(ctx, from); err != nil {
		return errors.Join(fmt.Errorf("channels: resume %s: %w", w.group, err), w.c.Leave(context.WithoutCancel(ctx), w.group))
	}
	return nil
}

// patiently tries until the engine is there.
func (w *replayer) patiently(ctx context.Context, try func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try()
		final := errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrLimit) || ctx.Err() != nil
		if err == nil || final || time.Now().Add(pause).After(w.until) {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		case <-w.hub.life.Done():
			wait.Stop()
			return err
		}
	}
}

// Pauses between two looks for an engine that is away.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// replay writes the history, then what was live meanwhile.
func (w *replayer) replay(ctx context.Context, from Replay) error {
	h, f := w.hub, w.f
	cur, err := from.After.Cursor(w.group)
	if err != nil || from.After == "" && from.Last < 0 {
		if err != nil {
			f.gap(w.relay)
		}
		f.catchUp()
		return nil
	}
	h.stats.Resumed.Add(1)
	losses := h.lost.Load()
	if from.After == "" && from.Last > 0 {
		err := w.patiently(ctx, func() (err error) {
			cur.Offset, err = h.before(ctx, w.group, from.Last)
			return err
		})
		if err != nil {
			return err
		}
	}
	f.last = cur.Offset // nobody else writes yet
	for goesOn := false; ; goesOn = true {
		more, err := w.page(ctx, goesOn)
		if err != nil {
			return err
		}
		if !more && f.catchUp() {
			h.noteSeen(w.group, f)
			if h.lost.Load() != losses {
				h.fallBehind(w.group)
			}
			return nil
		}
	}
}

// page writes some of the history and reports whether there may be more.
func (w *replayer) page(ctx context.Context, goesOn bool) (more bool, err error) {
	var p answer
	err = w.patiently(ctx, func() (err error) {
		p, err = w.hub.read(ctx, w.group, w.f.last, goesOn)
		return err
	})
	if err != nil {
		return false, err
	}
	if p.gone {
		w.f.gap(w.relay)
		w.f.last = 0
	}
	for _, e := range p.events {
		m := e.shared(w.hub, w.relay)
		if m == nil {
			continue
		}
		w.f.mu.Lock()
		w.f.writeLocked([]*Shared{m})
		w.f.mu.Unlock()
		if w.ahead += len(m.Data); w.ahead > replayAhead {
			if err := w.flush(ctx); err != nil {
				return false, err
			}
		}
	}
	if n := len(p.events); n > 0 {
		w.f.last = max(w.f.last, p.events[n-1].offset)
	}
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
	f.writeLocked(f.behind.messages)
	f.behind = nil
	return true
}

// before returns the offset after which the newest n messages come.
func (h *Hub) before(ctx context.Context, group string, n int) (uint64, error) {
	h.stats.Reads.Add(1)
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
	h.stats.Reads.Add(1)
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
	answer := h.newest.DoChan(group, func() (any, error) {
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
