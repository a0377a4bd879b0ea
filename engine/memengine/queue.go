package memengine

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// queue holds messages by priority step.
type queue struct {
	name      string
	ready     [len(engine.PrioritySteps)]list.List // of *msg, by seq
	msgs      map[*msg]struct{}                    // ready, delayed and held
	receivers map[*receiver]struct{}
}

// msg is a message in a queue or on a shelf.
type msg struct {
	engine.Publication
	task       *task
	queue      *queue
	seq        uint64 // place in the queue; stays when it comes back
	since      time.Time
	deliveries int

	place  *list.Element // in the queue's ready list; nil elsewhere
	fence  engine.Fence  // of the claim; zero when not claimed since it came
	holder *receiver     // nil when not held
	parked bool          // on that shelf
	before engine.State  // the task's state before the claim
	due    alarm         // end of the delay or of the lease
}

func (e *Engine) queue(name string) *queue {
	q := e.queues[name]
	if q == nil {
		q = &queue{name: name, msgs: make(map[*msg]struct{}), receivers: make(map[*receiver]struct{})}
		e.queues[name] = q
		for r := range e.receivers {
			if slices.Contains(r.opts.Queues, name) {
				q.receivers[r] = struct{}{}
			}
		}
	}
	return q
}

// enqueue puts a new message into its queue, now or when it is due.
func (e *Engine) enqueue(m *msg) {
	m.queue = e.queue(m.Queue)
	m.queue.msgs[m] = struct{}{}
	m.due.do = func() { e.release(m) }
	if m.At.After(time.Now()) {
		e.clock.set(&m.due, m.At)
		return
	}
	e.release(m)
}

// release makes a message ready: one that is new or due at the end of its
// queue, one that was held at its old place.
func (e *Engine) release(m *msg) {
	if m.holder != nil {
		m.holder = nil
		if m.task.wish != nil {
			e.finish(m.task, *m.task.wish)
			return
		}
	}
	if m.seq == 0 {
		m.seq, m.since = e.number(), time.Now()
	}
	l := &m.queue.ready[engine.Step(m.Priority)]
	if last := l.Back(); last == nil || last.Value.(*msg).seq < m.seq {
		m.place = l.PushBack(m)
	} else {
		at := l.Front()
		for at.Value.(*msg).seq < m.seq {
			at = at.Next()
		}
		m.place = l.InsertBefore(m, at)
	}
	for r := range m.queue.receivers {
		r.nudge()
	}
}

// unready takes a message out of the ready list.
func (m *msg) unready() {
	if m.place != nil {
		m.queue.ready[engine.Step(m.Priority)].Remove(m.place)
		m.place = nil
	}
}

// remove drops a message from wherever it is.
func (e *Engine) remove(m *msg) {
	m.unready()
	e.clock.cancel(&m.due)
	m.holder = nil
	delete(m.queue.msgs, m)
	if m.parked {
		m.parked = false
		e.shelves[engine.Parked].take(m.ID, m)
	}
	t := m.task
	t.msgs = slices.DeleteFunc(t.msgs, func(o *msg) bool { return o == m })
	if len(t.msgs) == 0 && !t.until.IsZero() && !t.until.After(time.Now()) {
		e.clock.set(&t.gone, time.Now())
	}
}

// Queues implements engine.Broker.
func (e *Engine) Queues(ctx context.Context) ([]engine.QueueInfo, error) {
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	now := time.Now()
	infos := make([]engine.QueueInfo, 0, len(e.queues))
	for _, q := range e.queues {
		infos = append(infos, q.info(now))
	}
	slices.SortFunc(infos, func(a, b engine.QueueInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (q *queue) info(now time.Time) engine.QueueInfo {
	info := engine.QueueInfo{Name: q.name}
	for i := range q.ready {
		info.Ready += q.ready[i].Len()
		if first := q.ready[i].Front(); first != nil {
			info.Oldest = max(info.Oldest, now.Sub(first.Value.(*msg).since))
		}
	}
	for m := range q.msgs {
		if m.holder != nil {
			info.Held++
		}
	}
	info.Delayed = len(q.msgs) - info.Ready - info.Held
	return info
}

// Purge implements engine.Broker.
func (e *Engine) Purge(ctx context.Context, name string) (int, error) {
	if err := e.begin(ctx); err != nil {
		return 0, err
	}
	defer e.mu.Unlock()
	q := e.queues[name]
	if q == nil {
		return 0, nil
	}
	n := 0
	for m := range q.msgs {
		if m.holder == nil {
			e.remove(m)
			n++
		}
	}
	return n, nil
}
