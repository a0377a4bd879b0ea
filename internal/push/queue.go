package push

// queue is what one connection has to write. It exists only while there is
// something in it and goes back to the pool's store afterwards.
type queue struct {
	items  []item
	head   int    // the first one that is not wholly written
	off    int    // how much of that one is
	frozen int    // how many from head on are being written now
	done   uint64 // how many were wholly written before
	cost   int    // of all from head on

	keys map[string]uint64 // where a key's newest item is, counted like done
}

type item struct {
	b   []byte // never changed
	key string // empty for none
}

const (
	// slot is what an item costs beside its bytes: itself.
	slot = 40

	// chunkSize is how much is joined for one write: a TLS record. Copying
	// that much is cheaper than a second write.
	chunkSize = 16 << 10

	// keepSlots bounds the array that an empty queue keeps for its next use.
	keepSlots = 256
)

type chunk [chunkSize]byte

func (it item) cost() int { return len(it.b) + slot }

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) add(it item) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.cost += it.cost()
}

// remember makes the last item the newest of its key.
func (q *queue) remember(key string) {
	if q.keys == nil {
		q.keys = make(map[string]uint64)
	}
	q.keys[key] = q.done + uint64(q.len()-1)
}

// find returns the key's item, or nil if there is none of which nothing is
// written.
func (q *queue) find(key string) *item {
	seq, ok := q.keys[key]
	if !ok {
		return nil
	}
	i := int(seq - q.done)
	if i < q.frozen || i == 0 && q.off > 0 {
		return nil
	}
	return &q.items[q.head+i]
}

// joins reports whether peek needs a chunk.
func (q *queue) joins() bool {
	return q.len() > 1 && q.left(0)+len(q.items[q.head+1].b) <= chunkSize
}

// left is how much of the item i from head on is to be written.
func (q *queue) left(i int) int {
	if i == 0 {
		return len(q.items[q.head].b) - q.off
	}
	return len(q.items[q.head+i].b)
}

// peek returns what to write next: as many items as fit into the chunk, or one
// as it is if not even two do. They stay in the queue until they are written.
func (q *queue) peek(to *chunk) []byte {
	if !q.joins() {
		q.frozen = 1
		return q.items[q.head].b[q.off:]
	}
	out := append(to[:0], q.items[q.head].b[q.off:]...)
	q.frozen = 1
	for q.frozen < q.len() && len(out)+q.left(q.frozen) <= chunkSize {
		out = append(out, q.items[q.head+q.frozen].b...)
		q.frozen++
	}
	return out
}

// advance takes away the first n bytes, of what peek returned.
func (q *queue) advance(n int) {
	q.frozen = 0
	q.off += n
	for q.len() > 0 && q.off >= len(q.items[q.head].b) {
		q.off -= len(q.items[q.head].b)
		q.pop()
	}
}

func (q *queue) pop() {
	it := q.items[q.head]
	if it.key != "" && q.keys[it.key] == q.done {
		delete(q.keys, it.key)
	}
	q.items[q.head] = item{}
	q.head++
	q.done++
	q.cost -= it.cost()
}

// reset empties the queue for its next use, by any connection.
func (q *queue) reset() {
	clear(q.items)
	items, keys := q.items[:0], q.keys
	if cap(items) > keepSlots {
		items, keys = nil, nil
	}
	clear(keys)
	*q = queue{items: items, keys: keys}
}
