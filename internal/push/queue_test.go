package push

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// modelItem is what a queue should know about a message.
type modelItem struct {
	b    []byte
	key  string
	left int  // bytes not written
	held bool // among those being written
}

// modelQueue does the same as queue, slowly.
type modelQueue struct {
	q     queue
	items []modelItem
	done  uint64
	peek  []byte // being written, nil for nothing
	chunk chunk
	seq   int
}

func (m *modelQueue) draw(t *rapid.T) []byte {
	m.seq++
	size := rapid.OneOf(rapid.IntRange(1, 30), rapid.IntRange(chunkSize/3, chunkSize+10)).Draw(t, "size")
	return bytes.Repeat([]byte{byte(m.seq), byte(m.seq >> 8), '.'}, size/3+1)[:size]
}

func (m *modelQueue) add(t *rapid.T) {
	it := item{b: m.draw(t), key: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "key")}
	m.q.add(it)
	if it.key != "" {
		m.q.remember(it.key)
	}
	m.items = append(m.items, modelItem{it.b, it.key, len(it.b), false})
}

// newest returns the key's newest item if it may be replaced.
func (m *modelQueue) newest(key string) *modelItem {
	for i := len(m.items) - 1; i >= 0; i-- {
		it := &m.items[i]
		if it.key == key && !it.held && it.left == len(it.b) {
			return it
		}
		if it.key == key {
			return nil
		}
	}
	return nil
}

func (m *modelQueue) replace(t *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c", "none"}).Draw(t, "key")
	got, want := m.q.find(key), m.newest(key)
	if got == nil && want == nil {
		return
	}
	if got == nil || want == nil || !bytes.Equal(got.b, want.b) {
		t.Fatalf("find(%q) is %v, want %v", key, got, want)
	}
	b := m.draw(t)
	m.q.cost += len(b) - len(got.b)
	got.b, want.b, want.left = b, b, len(b)
}

func (m *modelQueue) startWrite(t *rapid.T) {
	if m.peek != nil || len(m.items) == 0 {
		t.Skip("nothing to write, or one write is under way")
	}
	m.peek = m.q.peek(&m.chunk)
	var want []byte
	for i := range m.items {
		it := &m.items[i]
		if i > 0 && len(want)+len(it.b) > chunkSize {
			break
		}
		want = append(want, it.b[len(it.b)-it.left:]...)
		it.held = true
	}
	if !bytes.Equal(m.peek, want) {
		t.Fatalf("peek is %d bytes, want %d", len(m.peek), len(want))
	}
}

func (m *modelQueue) endWrite(t *rapid.T) {
	if m.peek == nil {
		t.Skip("nothing is being written")
	}
	n := rapid.OneOf(rapid.Just(0), rapid.Just(len(m.peek)), rapid.IntRange(0, len(m.peek))).Draw(t, "n")
	m.peek = nil
	m.q.advance(n)
	for n > 0 {
		it := &m.items[0]
		took := min(n, it.left)
		n -= took
		if it.left -= took; it.left == 0 {
			m.items = m.items[1:]
			m.done++
		}
	}
	for i := range m.items {
		m.items[i].held = false
	}
}

func (m *modelQueue) reset(t *rapid.T) {
	if m.peek != nil {
		t.Skip("a write is under way")
	}
	m.q.reset()
	m.items, m.done = nil, 0
}

func (m *modelQueue) check(t *rapid.T) {
	cost := 0
	for _, it := range m.items {
		cost += item{b: it.b}.cost()
	}
	got := fmt.Sprint(m.q.len(), m.q.cost, m.q.done)
	if want := fmt.Sprint(len(m.items), cost, m.done); got != want {
		t.Fatalf("length, cost and done are %s, want %s", got, want)
	}
	for i, it := range m.q.items[:cap(m.q.items)] {
		if used := i >= m.q.head && i < len(m.q.items); !used && it.b != nil {
			t.Fatalf("slot %d holds on to %d bytes", i, len(it.b))
		}
	}
	for key, seq := range m.q.keys {
		if seq < m.q.done || seq >= m.q.done+uint64(m.q.len()) {
			t.Fatalf("key %q is at %d, outside of the queue", key, seq)
		}
	}
}

func TestQueueIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := new(modelQueue)
		t.Repeat(map[string]func(*rapid.T){
			"add":     m.add,
			"add 2":   m.add,
			"replace": m.replace,
			"peek":    m.startWrite,
			"advance": m.endWrite,
			"reset":   m.reset,
			"":        m.check,
		})
	})
}

func TestQueueGivesBackALargeArray(t *testing.T) {
	var q queue
	for range keepSlots * 4 {
		q.add(item{b: []byte("x"), key: "k"})
		q.remember("k")
	}
	q.reset()
	if q.items != nil || q.keys != nil {
		t.Errorf("an empty queue keeps %d slots and %d keys", cap(q.items), len(q.keys))
	}
}

// A queue that is never empty but short must not grow.
func TestQueueReusesItsArray(t *testing.T) {
	q := queue{items: make([]item, 0, 4)}
	q.add(item{b: []byte("x")})
	for range 1000 {
		q.add(item{b: []byte("x")})
		q.peek(new(chunk))
		q.advance(1)
	}
	if cap(q.items) > 8 {
		t.Errorf("the array of a queue of at most 2 has %d slots", cap(q.items))
	}
}
