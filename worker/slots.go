package worker

import (
	"context"
	"slices"
	"sync"
)

// slots counts how many tasks may still start. Who waits is served in order.
type slots struct {
	mu      sync.Mutex
	size    int // how many may run at once
	free    int // negative after a resize while more run than may
	waiting []*claim
}

// claim is one who waits for up to most slots.
type claim struct {
	most    int
	granted chan int // has room for one
}

func newSlots(n int) *slots { return &slots{size: n, free: n} }

// acquire waits for a slot and takes what else is free with it, up to most. It
// returns 0 when ctx ends.
func (s *slots) acquire(ctx context.Context, most int) int {
	if ctx.Err() != nil {
		return 0
	}
	s.mu.Lock()
	if s.free > 0 && len(s.waiting) == 0 {
		n := min(s.free, most)
		s.free -= n
		s.mu.Unlock()
		return n
	}
	c := &claim{most, make(chan int, 1)}
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	return s.wait(ctx, c)
}

// first takes one slot ahead of all who wait. hurry is called if none is free
// now, once the claim is made. It returns false when ctx ends.
func (s *slots) first(ctx context.Context, hurry func()) bool {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return true
	}
	c := &claim{1, make(chan int, 1)}
	s.waiting = slices.Insert(s.waiting, 0, c)
	s.mu.Unlock()
	hurry()
	return s.wait(ctx, c) > 0
}

func (s *slots) wait(ctx context.Context, c *claim) int {
	select {
	case n := <-c.granted:
		return n
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, c)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it was granted at the same moment
		s.release(<-c.granted)
	}
	return 0
}

// release gives slots back.
func (s *slots) release(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	for s.free > 0 && len(s.waiting) > 0 {
		c := s.waiting[0]
		s.waiting = s.waiting[1:]
		n := min(s.free, c.most)
		s.free -= n
		c.granted <- n
	}
}

// resize changes how many there are. It reports false, and does nothing, if
// none would be left.
func (s *slots) resize(by int) bool {
	s.mu.Lock()
	if s.size+by < 1 {
		s.mu.Unlock()
		return false
	}
	s.size += by
	s.mu.Unlock()
	s.release(by)
	return true
}

func (s *slots) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}
