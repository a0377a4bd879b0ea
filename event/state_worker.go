package event

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Celery's numbers. celery/events/state.py: a worker that never said its
// frequency has 60 s, and is thought gone after two beats.
const (
	unknownFreq = 60 * time.Second
	maxBeats    = 4
	maxFreq     = 1e6 // seconds
)

// Worker is what is known of a worker.
type Worker struct {
	Hostname  string
	PID       int
	Clock     uint64
	Freq      time.Duration // between its heartbeats
	Beats     []time.Time   // when the last four came, the oldest first; none once it is offline
	Active    int           // tasks that run
	Processed int           // tasks begun since it started
	Load      [3]float64    // load averages of its machine

	Software, Version, System string // sw_ident, sw_ver, sw_sys
}

// Alive reports whether the worker is thought to be there at that time.
func (w Worker) Alive(now time.Time) bool {
	n := len(w.Beats)
	return n > 0 && now.Before(w.Beats[n-1].Add(2*w.Freq))
}

func (w Worker) clone() Worker {
	w.Beats = slices.Clone(w.Beats)
	return w
}

func (w *Worker) bytes() int {
	return len(w.Hostname) + len(w.Software) + len(w.Version) + len(w.System)
}

// apply takes in an event of group worker.
func (w *Worker) apply(e Event) {
	w.PID, w.Clock = e.PID, e.Clock
	e.each(w.set)
	if e.Subject() == "offline" {
		w.Beats = nil
	} else if !e.Time.IsZero() {
		w.beat(e.Received)
	}
}

// beat notes a heartbeat, in order of time.
func (w *Worker) beat(at time.Time) {
	if len(w.Beats) == maxBeats {
		w.Beats = w.Beats[1:]
	}
	i, _ := slices.BinarySearchFunc(w.Beats, at, func(a, b time.Time) int {
		return max(-1, a.Compare(b)*2+1) // behind its equals
	})
	w.Beats = slices.Insert(slices.Clone(w.Beats), i, at)
}

// set reads a field of the event. One that is not what it should be is passed
// over.
func (w *Worker) set(key []byte, value json.RawMessage) {
	switch string(key) {
	case "freq":
		if f, err := strconv.ParseFloat(string(value), 64); err == nil && f > 0 && f < maxFreq {
			w.Freq = time.Duration(f * float64(time.Second))
		}
	case "active":
		setWhole(&w.Active, value)
	case "processed":
		setWhole(&w.Processed, value)
	case "loadavg":
		w.setLoad(value)
	case "sw_ident":
		setText(&w.Software, value, maxName)
	case "sw_ver":
		setText(&w.Version, value, maxName)
	case "sw_sys":
		setText(&w.System, value, maxName)
	}
}

func (w *Worker) setLoad(value json.RawMessage) {
	list, err := celery.Elements(value)
	if err != nil || len(list) != len(w.Load) {
		return
	}
	var load [3]float64
	for i, raw := range list {
		if load[i], err = strconv.ParseFloat(string(raw), 64); err != nil {
			return
		}
	}
	w.Load = load
}

func setWhole(n *int, value json.RawMessage) {
	if got, err := strconv.Atoi(string(value)); err == nil {
		*n = got
	}
}

// setText cuts what is longer. A null is "".
func setText(s *string, value json.RawMessage, most int) {
	if string(value) == "null" {
		*s = ""
		return
	}
	text, err := celery.Text(value)
	if err != nil {
		text = string(value) // a number where Celery has text, or a value of a version to come
	}
	if len(text) > most {
		text = text[:most]
	}
	*s = string([]byte(text)) // not a part of the message
}
