package auth

import "sync"

// Limiter counts the connections of each user and ends them on demand. It
// remembers users only while they are connected. Any number of goroutines may
// use one at once.
type Limiter struct {
	max int

	mu   sync.Mutex
	open map[string]int
	ends map[string]map[*ending]struct{}
}

// ending has an identity, so that equal functions can be told apart.
type ending struct{ end func(reason string) }

// NewLimiter returns a limiter to max connections per user. Zero and less mean
// no limit.
func NewLimiter(max int) *Limiter {
	return &Limiter{max: max, open: make(map[string]int), ends: make(map[string]map[*ending]struct{})}
}

// Enter counts a connection until leave is called; further calls do nothing.
// When the user has as many as may be, ok is false and leave does nothing. All
// anonymous callers are the user "": give them a name, such as their address,
// if each should have a limit of its own.
func (l *Limiter) Enter(user string) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && l.open[user] >= l.max {
		return func() {}, false
	}
	l.open[user]++
	return sync.OnceFunc(func() { l.leave(user) }), true
}

func (l *Limiter) leave(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[user]--
	if l.open[user] == 0 {
		delete(l.open, user)
	}
}

// Register makes Kick call end, at most once, until unregister is called. An
// end that was already taken may still run while unregister returns.
func (l *Limiter) Register(user string, end func(reason string)) (unregister func()) {
	e := &ending{end}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends[user] == nil {
		l.ends[user] = make(map[*ending]struct{})
	}
	l.ends[user][e] = struct{}{}
	return func() { l.unregister(user, e) }
}

func (l *Limiter) unregister(user string, e *ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends[user], e)
	if len(l.ends[user]) == 0 {
		delete(l.ends, user)
	}
}

// Kick ends the connections of a user and returns how many. It calls their
// functions one after the other, which should not block. The user may come
// back: take the permission first.
func (l *Limiter) Kick(user, reason string) int {
	l.mu.Lock()
	taken := l.ends[user]
	delete(l.ends, user)
	l.mu.Unlock()
	for e := range taken {
		e.end(reason)
	}
	return len(taken)
}
