package event

import (
	"container/list"
	"iter"
)

// lru keeps the values that were used last, max of them and at most maxBytes.
type lru[V any] struct {
	max, maxBytes int
	bytes         int
	order         list.List // of *slot[V], the one used last in front
	slots         map[string]*list.Element
}

type slot[V any] struct {
	key   string
	value V
	bytes int
}

func (l *lru[V]) get(key string) *V {
	if e := l.slots[key]; e != nil {
		return &e.Value.(*slot[V]).value
	}
	return nil
}

// touch returns the value of a key, a new one if there is none, as the one used
// last.
func (l *lru[V]) touch(key string, make func() V) *V {
	e := l.slots[key]
	if e == nil {
		e = l.order.PushFront(&slot[V]{key: key, value: make()})
		l.slots[key] = e
	}
	l.order.MoveToFront(e)
	return &e.Value.(*slot[V]).value
}

// size notes how large the value used last has become, and drops the oldest
// that are too many.
func (l *lru[V]) size(bytes int) {
	s := l.order.Front().Value.(*slot[V])
	l.bytes += bytes - s.bytes
	s.bytes = bytes
	for l.order.Len() > l.max || l.bytes > l.maxBytes && l.order.Len() > 1 {
		old := l.order.Remove(l.order.Back()).(*slot[V])
		l.bytes -= old.bytes
		delete(l.slots, old.key)
	}
}

// newest yields the values, the one used last first.
func (l *lru[V]) newest() iter.Seq[*V] {
	return func(yield func(*V) bool) {
		for e := l.order.Front(); e != nil; e = e.Next() {
			if !yield(&e.Value.(*slot[V]).value) {
				return
			}
		}
	}
}
