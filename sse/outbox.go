package sse

import (
	"slices"
	"sync"
)

const (
	// maxBehind bounds what waits for a client, in bytes: the first frame that
	// comes while that much waits ends the connection.
	maxBehind = 1 << 20

	// maxJoin is about how much is joined for one write, in bytes.
	maxJoin = 16 << 10
)

// outbox is what was pushed and is not written yet. Someone empties it from the
// first frame on until there is none.
type outbox struct {
	mu      sync.Mutex
	waiting []parcel
	bytes   int
	busy    bool
	idle    chan struct{} // closed when nothing waits; nil if nobody wants to know
}

// parcel is a frame that waits.
type parcel struct {
	key   string // empty for none
	frame Frame
}

// add reports whether there is place, and whether the caller is to begin
// emptying.
func (b *outbox) add(key string, f Frame) (begin, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.replaceLocked(key, f) {
		return false, true
	}
	if b.bytes > maxBehind {
		return false, false
	}
	b.waiting = append(b.waiting, parcel{key, f})
	b.bytes += len(f)
	begin, b.busy = !b.busy, true
	return begin, true
}

// replaceLocked puts a frame in the place of one with its key, if one waits.
func (b *outbox) replaceLocked(key string, f Frame) bool {
	if key == "" || b.bytes > maxBehind {
		return false
	}
	i := slices.IndexFunc(b.waiting, func(p parcel) bool { return p.key == key })
	if i < 0 {
		return false
	}
	b.bytes += len(f) - len(b.waiting[i].frame)
	b.waiting[i].frame = f
	return true
}

// take joins what waits, some of it, in the space of what was taken before. It
// is nil when nothing waits, which ends the emptying.
func (b *outbox) take(space []byte) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	space = space[:0]
	n := 0
	for n < len(b.waiting) && len(space) < maxJoin {
		space = append(space, b.waiting[n].frame.events()...)
		b.bytes -= len(b.waiting[n].frame)
		n++
	}
	if n == 0 {
		b.doneLocked()
		return nil
	}
	clear(b.waiting[:n]) // the array may stay for long
	if b.waiting = b.waiting[n:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	return space
}

// drop forgets what waits, for the connection has ended.
func (b *outbox) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting, b.bytes = nil, 0
	b.doneLocked()
}

func (b *outbox) doneLocked() {
	b.busy = false
	if b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// written is closed when nothing waits.
func (b *outbox) written() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	if !b.busy {
		b.doneLocked()
	}
	return idle
}
