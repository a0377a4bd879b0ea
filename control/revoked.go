package control

import (
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// How many revoked ids a node remembers, and how long. celery/worker/state.py
// REVOKES_MAX and REVOKE_EXPIRES.
const (
	maxRevoked  = 50_000
	keepRevoked = 10_800 * time.Second
)

// memory is a set of ids that forgets the oldest. It may be used by any number
// of goroutines.
type memory struct {
	mu    sync.Mutex
	since map[string]time.Time
	order []remembered // by time; entries that since does not confirm are void
}

type remembered struct {
	id string
	at time.Time
}

func newMemory() *memory { return &memory{since: map[string]time.Time{}} }

func (m *memory) add(ids ...string) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if id == "" || len(id) > engine.MaxID || m.since[id].Equal(now) {
			continue // no task has such an id, or it was there a moment ago
		}
		m.since[id] = now
		m.order = append(m.order, remembered{id, now})
	}
	m.purgeLocked(now)
}

func (m *memory) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.since[id]
	return ok && time.Since(at) < keepRevoked
}

// list returns the ids from the oldest with their ages.
func (m *memory) list() (ids []string, ages []time.Duration) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purgeLocked(now)
	for _, e := range m.order {
		if m.since[e.id].Equal(e.at) {
			ids, ages = append(ids, e.id), append(ages, now.Sub(e.at))
		}
	}
	return ids, ages
}

// purgeLocked drops what is too old, too many or void from the front, and void
// entries everywhere once they are as many as the others may be.
func (m *memory) purgeLocked(now time.Time) {
	drop := 0
	for _, e := range m.order {
		valid := m.since[e.id].Equal(e.at)
		if valid && len(m.since) <= maxRevoked && now.Sub(e.at) < keepRevoked {
			break
		}
		if drop++; valid {
			delete(m.since, e.id)
		}
	}
	m.order = m.order[drop:]
	if len(m.order) <= 2*maxRevoked {
		return
	}
	kept := make([]remembered, 0, len(m.since))
	for _, e := range m.order {
		if m.since[e.id].Equal(e.at) {
			kept = append(kept, e)
		}
	}
	m.order = kept
}
