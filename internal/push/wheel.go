package push

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultTick = 250 * time.Millisecond

	// slots times the tick is one turn of the wheel, 64 s by default. A timer
	// that is further away is looked at once per turn.
	slots = 256

	maxDelay = 100 * 365 * 24 * time.Hour // the sums below cannot overflow
)

// Wheel runs functions at coarse times: heartbeats and expiries of many
// connections, for which a timer each would be too much. A function runs never
// too early, and less than one tick too late, if the machine is not too busy.
// It needs no closing: it wakes only for slots in which something stands, and
// never while nothing is scheduled. Its methods may be called at once.
type Wheel struct {
	tick time.Duration
	base time.Time // when tick 0 begins

	mu    sync.Mutex
	ring  [slots]*Timer // by tick modulo slots
	count int           // of timers in it
	last  int64         // all ticks up to this one are over and their timers gone
	wake  int64         // the tick for which alarm is set, 0 for none
	alarm *time.Timer
}

// Timer is a function that a wheel runs later. Its methods may be called at
// once, and from the function itself.
type Timer struct {
	w   *Wheel
	f   func()
	due atomic.Int64 // the first tick in which it may run, 0 for never

	// Guarded by w.mu. A timer stands in the slot for the tick at or, once put
	// off, still in an earlier one, from which it is moved on in time.
	at         int64 // 0 if it stands in none
	prev, next *Timer
}

// NewWheel returns a wheel with that tick. Zero means 250 ms.
func NewWheel(tick time.Duration) *Wheel {
	if tick <= 0 {
		tick = defaultTick
	}
	return &Wheel{tick: tick, base: time.Now()}
}

// NewTimer returns a timer that Reset schedules. f is called from a goroutine
// that it shares with all that is due in the same tick: it must be quick and
// must not wait.
func (w *Wheel) NewTimer(f func()) *Timer { return &Timer{w: w, f: f} }

// Schedule runs f once after d, as NewTimer says. A negative d is zero: in less
// than a tick. If f uses the timer, make that with NewTimer, for f may run
// before Schedule has returned.
func (w *Wheel) Schedule(d time.Duration, f func()) *Timer {
	t := w.NewTimer(f)
	t.Reset(d)
	return t
}

// Reset has the function run after d from now, and not when it would have,
// whether it has already run, was stopped or neither. Putting it off, as every
// sign of life of a connection does, costs two atomic operations and no lock.
func (t *Timer) Reset(d time.Duration) {
	due := t.w.dueIn(d)
	for old := t.due.Load(); old != 0 && old <= due; old = t.due.Load() {
		if t.due.CompareAndSwap(old, due) {
			return
		}
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.catchUp()
	t.w.unlink(t)
	t.due.Store(due)
	t.w.link(t, due)
	t.w.setAlarm()
}

// Stop has the function not run. It reports whether it would have; if not, it
// may be running now.
func (t *Timer) Stop() bool {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.unlink(t)
	would := t.due.Swap(0) != 0
	t.w.setAlarm()
	return would
}

// dueIn returns the first tick that begins after d.
func (w *Wheel) dueIn(d time.Duration) int64 {
	at := time.Since(w.base) + min(max(d, 0), maxDelay)
	return max(int64((at+w.tick-1)/w.tick), 1)
}

// catchUp ends the ticks that are over and for which no alarm was needed.
func (w *Wheel) catchUp() {
	over := int64(time.Since(w.base)/w.tick) - 1
	if w.wake != 0 {
		over = min(over, w.wake-1)
	}
	w.last = max(w.last, over)
}

func (w *Wheel) link(t *Timer, at int64) {
	at = max(at, w.last+1)
	head := &w.ring[at%slots]
	t.at, t.prev, t.next = at, nil, *head
	if t.next != nil {
		t.next.prev = t
	}
	*head = t
	w.count++
}

func (w *Wheel) unlink(t *Timer) {
	if t.at == 0 {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.ring[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.at, t.prev, t.next = 0, nil, nil
	w.count--
}

// setAlarm sets the alarm for the next slot in which something stands.
func (w *Wheel) setAlarm() {
	next := w.nextSlot()
	if next == w.wake {
		return
	}
	w.wake = next
	if next == 0 {
		w.alarm.Stop()
		return
	}
	d := time.Until(w.base.Add(time.Duration(next) * w.tick))
	if w.alarm == nil {
		w.alarm = time.AfterFunc(d, w.turn)
		return
	}
	w.alarm.Reset(d)
}

func (w *Wheel) nextSlot() int64 {
	if w.count == 0 {
		return 0
	}
	next := w.last + 1
	for w.ring[next%slots] == nil {
		next++
	}
	return next
}

// turn runs what is due.
func (w *Wheel) turn() {
	w.mu.Lock()
	now := int64(time.Since(w.base) / w.tick)
	var due []*Timer
	for tick := max(w.last+1, now-slots+1); tick <= now; tick++ {
		due = w.collect(tick%slots, now, due)
	}
	w.last = max(w.last, now)
	w.wake = 0
	w.setAlarm() // before the functions run: a slow one delays only its own tick
	w.mu.Unlock()
	for _, t := range due {
		t.f()
	}
}

// collect takes what is due off a slot and moves on what was put off.
func (w *Wheel) collect(slot, now int64, due []*Timer) []*Timer {
	for t, next := w.ring[slot], (*Timer)(nil); t != nil; t = next {
		next = t.next
		if t.at > now {
			continue // in a later turn of the wheel
		}
		w.unlink(t)
		at := t.due.Load()
		for at <= now && !t.due.CompareAndSwap(at, 0) { // not if it is put off now
			at = t.due.Load()
		}
		if at <= now {
			due = append(due, t)
		} else {
			w.link(t, at)
		}
	}
	return due
}
