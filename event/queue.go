package event

import (
	"strings"
	"sync"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Limits of a sender. A batch is what one message carries: of at most
// batchEvents, as on a Celery worker (celery/events/dispatcher.py
// buffer_limit), and closed once it has batchBytes. Beside the events, a
// waiting sender holds queuedBytes at most. A larger event than maxEvent is
// not sent.
const (
	batchEvents  = 24
	batchBytes   = 64 << 10
	queuedBytes  = 8 << 20
	maxEvent     = engine.MaxMessage / 2
	minBatchRoom = 512 // bytes a new batch has room for
	workerRoom   = 100 // events of group worker that fit beside all others
)

// parcel is one message: an event, or a list of them.
type parcel struct {
	key    string // routing key
	body   []byte
	events int
}

func (p parcel) batch() bool { return p.key == taskBatch }

// taskBatch is the routing key of batches. celery/events/dispatcher.py flush.
const taskBatch = "task.multi"

// queue keeps what waits to be sent, in order. Its zero value needs max.
type queue struct {
	max int // events

	mu      sync.Mutex
	parcels []parcel
	events  int
	bytes   int
	room    int // what the last batch needed
	closed  bool
}

// put is what became of an event.
type put uint8

const (
	kept     put = iota
	keptFull     // kept, and a batch is full
	noRoom
	tooLarge
	closed
)

// push encodes an event that fill completes, in the order of the calls.
func (q *queue) push(e Event, fill func(*Event)) put {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return closed
	case !q.hasRoomLocked(e):
		return noRoom
	}
	fill(&e)
	p := q.openLocked(e)
	start := len(p.body)
	if p.events > 0 {
		p.body = append(p.body, ',')
	}
	p.body = e.Append(p.body)
	if len(p.body)-start > maxEvent {
		p.body = p.body[:start]
		q.dropEmptyLocked()
		return tooLarge
	}
	p.events++
	q.events++
	q.bytes += len(p.body) - start
	if p.events == batchEvents {
		return keptFull
	}
	return kept
}

// hasRoomLocked keeps some room for a worker's events, so that one whose tasks
// have filled the queue does not look dead.
func (q *queue) hasRoomLocked(e Event) bool {
	reserve := 0
	if e.Group() == workerGroup {
		reserve = workerRoom
	}
	return q.events < q.max+reserve && q.bytes < queuedBytes+reserve*minBatchRoom
}

// openLocked returns the parcel that takes the event.
func (q *queue) openLocked(e Event) *parcel {
	if n := len(q.parcels); n > 0 {
		last := &q.parcels[n-1]
		if e.Group() == taskGroup && last.batch() && last.events < batchEvents && len(last.body) < batchBytes {
			return last
		}
	}
	p := parcel{key: key(e.Type), body: make([]byte, 0, max(minBatchRoom, q.room))}
	if e.Group() == taskGroup {
		p.key, p.body = taskBatch, append(p.body, '[')
	}
	q.parcels = append(q.parcels, p)
	return &q.parcels[len(q.parcels)-1]
}

// dropEmptyLocked takes back a parcel that was opened for nothing.
func (q *queue) dropEmptyLocked() {
	if n := len(q.parcels); q.parcels[n-1].events == 0 {
		q.parcels = q.parcels[:n-1]
	}
}

// pop takes the oldest parcel, ready to be sent.
func (q *queue) pop() (parcel, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.parcels) == 0 {
		return parcel{}, false
	}
	p := q.parcels[0]
	q.parcels[0] = parcel{}
	if q.parcels = q.parcels[1:]; len(q.parcels) == 0 {
		q.parcels = nil
	}
	q.events -= p.events
	if p.batch() {
		p.body = append(p.body, ']')
		q.bytes -= len(p.body) - 2
		q.room = min(len(p.body), batchBytes)
	} else {
		q.bytes -= len(p.body)
	}
	return p, true
}

// length is how many messages wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.parcels)
}

// close has later events refused.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// key is the routing key of an event. celery/events/dispatcher.py publish.
func key(kind string) string { return strings.ReplaceAll(kind, "-", ".") }
