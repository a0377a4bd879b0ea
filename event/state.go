package event

import (
	"container/list"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// StateOptions bounds a State. Zero fields are Celery's bounds.
type StateOptions struct {
	Tasks   int // 10,000
	Workers int // 5,000
	Bytes   int // of the tasks' texts together: 64 MiB
}

// State is what events tell of a cluster: who is alive and what became of the
// tasks. celery/events/state.py. It keeps those of whom was heard last. All
// methods may be called at once; what they return is the caller's.
type State struct {
	mu       sync.Mutex
	workers  lru[Worker]
	tasks    lru[Task]
	events   uint64
	unusable uint64
}

// NewState makes an empty State. Nil options are the defaults.
func NewState(opts *StateOptions) (*State, error) {
	var o StateOptions
	if opts != nil {
		o = *opts
	}
	if o.Tasks < 0 || o.Workers < 0 || o.Bytes < 0 {
		return nil, fmt.Errorf("event: new state: bounds of %d tasks, %d workers and %d bytes: none may be negative", o.Tasks, o.Workers, o.Bytes)
	}
	bound := func(n, none int) int {
		if n == 0 {
			return none
		}
		return n
	}
	s := &State{}
	s.tasks = newLRU[Task](bound(o.Tasks, 10_000), bound(o.Bytes, 64<<20))
	s.workers = newLRU[Worker](bound(o.Workers, 5000), 64<<20)
	return s, nil
}

func newLRU[V any](most, maxBytes int) lru[V] {
	return lru[V]{max: most, maxBytes: maxBytes, slots: map[string]*list.Element{}}
}

// Apply takes an event in. One without what its group needs is counted, and
// told, and changes nothing; those of other groups are only counted. An event
// that was not received counts as received now.
func (s *State) Apply(e Event) error {
	if e.Received.IsZero() {
		e.Received = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	var err error
	switch e.Group() {
	case workerGroup:
		err = s.workerLocked(e)
	case taskGroup:
		err = s.taskLocked(e)
	}
	if err != nil {
		s.unusable++
		return fmt.Errorf("event: apply %.60s of %.60q: %w", e.Type, e.Hostname, err)
	}
	return nil
}

func (s *State) workerLocked(e Event) error {
	if e.Hostname == "" {
		return errors.New("it has no hostname")
	}
	if e.Subject() == "offline" && s.workers.get(e.Hostname) == nil {
		return nil // one that nobody knew
	}
	w := s.touchWorker(e.Hostname)
	w.apply(e)
	s.workers.size(w.bytes())
	return nil
}

func (s *State) touchWorker(hostname string) *Worker {
	return s.workers.touch(hostname, func() Worker { return Worker{Hostname: hostname, Freq: unknownFreq} })
}

func (s *State) taskLocked(e Event) error {
	id := e.TaskID()
	switch {
	case id == "" || len(id) > maxName:
		return errors.New("it has no uuid, or one that is too long")
	case e.Hostname == "":
		return errors.New("it has no hostname")
	case e.Time.IsZero():
		return errors.New("it has no timestamp")
	}
	t := s.tasks.touch(id, func() Task { return Task{ID: id, State: pending} })
	if e.Subject() == "sent" {
		t.Client = e.Hostname
	} else {
		t.Worker = e.Hostname
		w := s.touchWorker(e.Hostname)
		w.beat(earlier(e.Time, e.Received)) // Celery takes the sender's time, even one to come
		s.workers.size(w.bytes())
	}
	t.apply(e)
	s.tasks.size(t.bytes())
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Counts are the numbers of a State.
type Counts struct {
	Events   uint64 // all that were applied
	Unusable uint64 // of these, that lacked something
	Workers  int    // known, alive or not
	Tasks    int    // known
}

// Counts returns the numbers of this moment.
func (s *State) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{s.events, s.unusable, s.workers.order.Len(), s.tasks.order.Len()}
}

// Workers returns the known workers, ordered by name.
func (s *State) Workers() []Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Worker
	for w := range s.workers.newest() {
		all = append(all, w.clone())
	}
	slices.SortFunc(all, func(a, b Worker) int { return strings.Compare(a.Hostname, b.Hostname) })
	return all
}

// Query selects tasks. Empty fields select all.
type Query struct {
	Name   string // of the task
	Worker string
	State  string
	Limit  int // at most that many; zero means all
}

func (q Query) matches(t *Task) bool {
	return (q.Name == "" || q.Name == t.Name) && (q.Worker == "" || q.Worker == t.Worker) && (q.State == "" || q.State == t.State)
}

// Tasks returns known tasks, the one of which was heard last first.
func (s *State) Tasks(q Query) []Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Task
	for t := range s.tasks.newest() {
		if q.Limit > 0 && len(found) == q.Limit {
			break
		}
		if q.matches(t) {
			found = append(found, *t)
		}
	}
	return found
}

// Task returns a task by its id.
func (s *State) Task(id string) (Task, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks.get(id); t != nil {
		return *t, true
	}
	return Task{}, false
}

// TaskNames returns the names of the known tasks, ordered.
func (s *State) TaskNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for t := range s.tasks.newest() {
		if t.Name != "" {
			names[t.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
