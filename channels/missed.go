package channels

import (
	"context"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// behind are the groups whose history has something that this process has not
// heard. What they keep is handed out from the history until it has caught up,
// so that nothing newer overtakes it; other groups, and what is not kept, go on.
type behind struct {
	news chan struct{} // has room for one word that there are some

	mu     sync.Mutex
	groups map[string]struct{}
}

// found is a page of what a group has missed.
type found struct {
	group string
	kept  []engine.Kept
	gone  bool
	done  chan struct{} // closed when it is handed out
}

// fallBehind has what a group missed read, until that succeeds.
func (h *Hub) fallBehind(group string) {
	h.behind.mu.Lock()
	h.behind.groups[group] = struct{}{}
	h.behind.mu.Unlock()
	select {
	case h.behind.news <- struct{}{}:
	default:
	}
}

// next takes one group that is behind.
func (b *behind) next() (group string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for group := range b.groups {
		delete(b.groups, group)
		return group, true
	}
	return "", false
}

// keepUp reads what groups missed, until ctx ends. Who else reads a history
// need not wait for it.
func (h *Hub) keepUp(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		group, ok := h.behind.next()
		if !ok {
			select {
			case <-h.behind.news:
			case <-ctx.Done():
			}
			continue
		}
		err := h.readMissed(ctx, group)
		if err == nil {
			pause = firstPause
			continue
		}
		if ctx.Err() == nil && pause == firstPause {
			h.log.Warn("read what a group missed", "group", group, "err", err)
		}
		h.fallBehind(group)
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
		pause = min(2*pause, lastPause)
	}
}

// readMissed reads what a group keeps and this process did not hear.
func (h *Hub) readMissed(ctx context.Context, group string) error {
	for {
		seen, known := h.seen(group)
		if !known {
			return nil // nobody here follows a history
		}
		limit, cancel := context.WithTimeout(ctx, historyWait)
		kept, gone, err := h.kept(limit, group, seen)
		cancel()
		if err != nil || len(kept) == 0 && !gone {
			return err
		}
		f := found{group, kept, gone, make(chan struct{})}
		select {
		case h.found <- f:
			<-f.done
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(kept) == 0 {
			return nil
		}
	}
}

// handFound hands out what a group has missed.
func (h *Hub) handFound(f found) {
	defer close(f.done)
	if f.gone {
		h.tellGap(f.group)
	}
	for _, k := range f.kept {
		fresh := h.hand(f.group, k.Offset)
		if e, ok := h.event(f.group, k.Body, k.Offset); ok && fresh {
			h.handOut(f.group, e)
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
