package memengine

import (
	"container/heap"
	"time"
)

// clock runs functions when they are due, in order, with one timer for the
// next of them. The engine's mutex guards it; the functions run under it.
type clock struct {
	tick  func() // takes the mutex and calls run
	due   alarms
	timer *time.Timer
	armed time.Time // when timer fires; zero when it does not
	seq   uint64
}

// alarm is something to do at a time.
type alarm struct {
	at    time.Time
	seq   uint64 // keeps the order of what is due at one time
	index int    // in the heap; -1 when not waiting
	do    func()
}

// set makes an alarm, or moves it if it is waiting.
func (c *clock) set(a *alarm, at time.Time) {
	if a.seq == 0 {
		a.index = -1
	}
	a.at = at
	c.seq++
	a.seq = c.seq
	if a.index >= 0 {
		heap.Fix(&c.due, a.index)
	} else {
		heap.Push(&c.due, a)
	}
	c.arm()
}

// cancel forgets an alarm.
func (c *clock) cancel(a *alarm) {
	if a.seq != 0 && a.index >= 0 {
		heap.Remove(&c.due, a.index)
	}
}

// run does what is due at now.
func (c *clock) run(now time.Time) {
	c.armed = time.Time{}
	for len(c.due) > 0 && !c.due[0].at.After(now) {
		a := heap.Pop(&c.due).(*alarm)
		a.do()
	}
	c.arm()
}

// arm makes the timer fire at the next alarm or before. It does not put it off
// when that alarm was cancelled: one idle tick is cheaper than a reset for
// each settled lease.
func (c *clock) arm() {
	if len(c.due) == 0 || !c.armed.IsZero() && !c.due[0].at.Before(c.armed) {
		return
	}
	c.armed = c.due[0].at
	wait := max(time.Until(c.armed), 0)
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.tick)
		return
	}
	c.timer.Reset(wait)
}

func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// alarms is a heap by time.
type alarms []*alarm

func (h alarms) Len() int { return len(h) }

func (h alarms) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}

// Pop implements heap.Interface.
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.index = -1
	return a
}
