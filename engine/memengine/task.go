package memengine

import (
	"bytes"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// dedupeFor is how long a publication is remembered at least.
const dedupeFor = 2 * time.Minute

// task is all that is known under one id: the claim, the state, and the
// stream, which may also be one that no task writes.
type task struct {
	id      string
	fence   engine.Fence // number of the latest claim or Begin
	attempt int
	open    bool // the holder of fence may write
	brought bool // it was published here, so that its claims are ours

	state    engine.State // Status "" if none is kept
	version  uint64       // number of the latest change of state
	finished bool         // no claim and no state comes after
	held     engine.Fence // highest fence of a state put by another broker's run
	wish     *engine.State

	control []record // reset and end records
	data    []record // all others, which retention trims
	bytes   int64    // payload of data
	next    uint64   // N of the next record
	ended   bool
	retain  engine.Retention

	msgs   []*msg // waiting, delayed, held, parked
	rounds []round
	until  time.Time // kept until then, and as long as there are messages; zero is forever
	gone   alarm
}

// round remembers a publication.
type round struct {
	n     int
	until time.Time
}

type record struct {
	offset  uint64
	attempt int
	n       uint64
	kind    engine.Kind
	payload []byte
	time    time.Time
}

func (r record) export(stream string) engine.Record {
	c := engine.Cursor{Offset: r.offset, Attempt: r.attempt, N: r.n}
	return engine.Record{Pos: c.Position(stream), Attempt: r.attempt, N: r.n, Kind: r.kind, Payload: r.payload, Time: r.time}
}

// task returns the one with the id and makes it if need be.
func (e *Engine) task(id string) *task {
	if t := e.tasks[id]; t != nil {
		return t
	}
	t := &task{id: id}
	t.retain = t.retain.WithDefaults()
	t.gone.do = func() { e.expire(t) }
	e.tasks[id] = t
	return t
}

// keep lets the task live for d from now; negative is forever, zero the
// default. A longer promise made before is cut short.
func (e *Engine) keep(t *task, d time.Duration) {
	switch {
	case d < 0:
		t.until = time.Time{}
		e.clock.cancel(&t.gone)
		return
	case d == 0:
		d = engine.DefaultTTL
	}
	t.until = time.Now().Add(d)
	// An alarm that is early looks again; only one that is late must move.
	if t.gone.seq == 0 || t.gone.index < 0 || t.until.Before(t.gone.at) {
		e.clock.set(&t.gone, t.until)
	}
}

// expire removes a task whose time is over.
func (e *Engine) expire(t *task) {
	now := time.Now()
	switch {
	case t.until.IsZero():
		return
	case now.Before(t.until):
		e.clock.set(&t.gone, t.until)
		return
	case len(t.msgs) > 0: // looked at again when they are gone
		return
	}
	e.clear(t)
	t.finished, t.ended, t.open, t.wish = false, false, false, nil
	for _, r := range t.rounds {
		if now.Before(r.until) {
			t.until = r.until
			e.clock.set(&t.gone, t.until)
			return
		}
	}
	if e.tasks[t.id] == t {
		delete(e.tasks, t.id)
	}
}

// clear drops the task's state and stream, not its claim.
func (e *Engine) clear(t *task) {
	t.state, t.version = engine.State{}, e.number()
	t.wipe()
	e.wake(t.id)
}

// wipe drops the stream's records.
func (t *task) wipe() {
	t.control, t.data, t.bytes = nil, nil, 0
}

// claim opens the next attempt.
func (e *Engine) claim(t *task) {
	t.attempt++
	t.fence = engine.Fence(e.last + 1) // that of the reset record
	t.open = true
	t.next = 0
	t.retain = engine.Retention{}.WithDefaults()
	e.write(t, engine.KindReset, nil)
}

// write appends a record to the task's stream.
func (e *Engine) write(t *task, kind engine.Kind, payload []byte) {
	r := record{e.number(), t.attempt, t.next, kind, payload, time.Now()}
	t.next++
	if kind == engine.KindReset || kind == engine.KindEnd {
		t.control = append(t.control, r)
	} else {
		t.data = append(t.data, r)
		t.bytes += int64(len(payload))
		t.trim()
	}
	e.wake(t.id)
}

// trim drops what retention does not keep, the oldest first.
func (t *task) trim() {
	old := time.Now().Add(-t.retain.Age)
	for len(t.data) > 0 {
		first := &t.data[0]
		if len(t.data) <= t.retain.Count && t.bytes <= t.retain.Bytes && first.time.After(old) {
			return
		}
		t.bytes -= int64(len(first.payload))
		*first = record{} // free the payload
		t.data = t.data[1:]
	}
	t.data = nil
}

// put keeps a state that is not final and shows it in the stream.
func (e *Engine) put(t *task, s engine.State) {
	kind := engine.KindState
	if s.Status == engine.Progress {
		kind = engine.KindProgress
	}
	e.show(t, s)
	e.write(t, kind, t.state.Record)
}

// show keeps a state and tells its watchers.
func (e *Engine) show(t *task, s engine.State) {
	s.ID, s.Attempt, s.Time = t.id, t.attempt, time.Now()
	s.Record = bytes.Clone(s.Record)
	t.state, t.version = s, e.number()
	e.wake(t.id)
}

// finish keeps the final state and ends the stream. Messages that wait are
// dropped: they must not be handed out any more.
func (e *Engine) finish(t *task, s engine.State) {
	t.finished, t.open, t.wish = true, false, nil
	for _, m := range slices.Clone(t.msgs) {
		e.remove(m)
	}
	e.show(t, s)
	if !t.ended {
		t.ended = true
		e.write(t, engine.KindEnd, t.state.Record)
	}
	e.keep(t, s.TTL)
}

// after returns up to most records behind an offset, in order.
func (t *task) after(offset uint64, most int) []record {
	control, data := behind(t.control, offset), behind(t.data, offset)
	n := min(most, len(control)+len(data))
	if n <= 0 {
		return nil
	}
	out := make([]record, 0, n)
	for len(out) < n {
		if len(data) == 0 || len(control) > 0 && control[0].offset < data[0].offset {
			out, control = append(out, control[0]), control[1:]
		} else {
			out, data = append(out, data[0]), data[1:]
		}
	}
	return out
}

func behind(rs []record, offset uint64) []record {
	i, found := slices.BinarySearchFunc(rs, offset, func(r record, o uint64) int {
		switch {
		case r.offset < o:
			return -1
		case r.offset > o:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return rs[i:]
}
