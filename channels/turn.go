package channels

import "sync"

// turn is a lock that can be waited for until something else happens. It is smaller than the
// channel that one would take for it, and every connection has one. The zero
// value is free.
type turn struct {
	mu    sync.Mutex
	taken bool
	freed chan struct{} // closed when it is; nil if nobody waits
}

// take waits for the turn, and reports whether it has it: not if done is closed
// meanwhile. A nil done never is.
func (t *turn) take(done <-chan struct{}) bool {
	for {
		freed := t.try()
		if freed == nil {
			return true
		}
		select {
		case <-freed:
		case <-done:
			return false
		}
	}
}

// try takes the turn, or says what to wait for.
func (t *turn) try() (freed chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.taken {
		t.taken = true
		return nil
	}
	if t.freed == nil {
		t.freed = make(chan struct{})
	}
	return t.freed
}

func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken = false
	if t.freed != nil {
		close(t.freed)
		t.freed = nil
	}
}
