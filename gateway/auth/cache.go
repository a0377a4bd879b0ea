package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// cache keeps a bounded number of answers; those unused for longest leave
// first.
type cache struct {
	max int

	mu    sync.Mutex
	order *list.List // of *entry, the last used in front
	byKey map[[sha256.Size]byte]*list.Element
}

type entry struct {
	key    [sha256.Size]byte
	answer answer
	until  time.Time
}

func newCache(max int) *cache {
	return &cache{max: max, order: list.New(), byKey: make(map[[sha256.Size]byte]*list.Element)}
}

func (c *cache) get(key [sha256.Size]byte) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return answer{}, false
	}
	kept := e.Value.(*entry)
	if !time.Now().Before(kept.until) {
		c.dropLocked(e)
		return answer{}, false
	}
	c.order.MoveToFront(e)
	return kept.answer, true
}

// put keeps the answer in place of an earlier one, unless its time is over.
func (c *cache) put(key [sha256.Size]byte, a answer, until time.Time) {
	if !time.Now().Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.dropLocked(e)
	}
	c.byKey[key] = c.order.PushFront(&entry{key, a, until})
	if c.order.Len() > c.max {
		c.dropLocked(c.order.Back())
	}
}

func (c *cache) dropLocked(e *list.Element) {
	delete(c.byKey, e.Value.(*entry).key)
	c.order.Remove(e)
}
