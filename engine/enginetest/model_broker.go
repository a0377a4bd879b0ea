package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/rhubarb-go/rhubarb/engine"
)

// brokerModel does random things to a queue and to a table beside it.
func brokerModel(c *T) {
	run := 0
	rapid.Check(struct{ rapid.TB }{c.T}, func(t *rapid.T) {
		run++
		m := &queueModel{c: c, queue: fmt.Sprint("model-", run), tasks: map[string]*modelTask{}}
		for i := range 6 {
			m.tasks[fmt.Sprintf("%d-%d", run, i)] = &modelTask{}
		}
		m.r = c.receive(engine.ReceiveOptions{Queues: []string{m.queue}, Lease: maxLease})
		defer m.r.Close()
		t.Repeat(map[string]func(*rapid.T){
			"publish": m.publish,
			"take":    m.take,
			"succeed": m.succeed,
			"return":  m.giveBack,
			"retry":   m.retry,
			"bury":    func(t *rapid.T) { m.shelve(t, engine.Bury, dead) },
			"park":    func(t *rapid.T) { m.shelve(t, engine.Park, shelvedParked) },
			"restore": m.restore,
			"revoke":  m.revoke,
			"stale":   m.stale,
		})
		m.drain(t)
	})
}

// queueModel is what a queue should hold.
type queueModel struct {
	c     *T
	r     engine.Receiver
	queue string
	tasks map[string]*modelTask
	old   []*engine.Delivery // settled
}

type modelTask struct {
	where    place
	priority int
	attempt  int
	round    int
	again    bool // given back: the next take is the same attempt
	back     bool // came another way than by a publish, which may take a moment
	wish     bool
	held     *engine.Delivery
}

type place int

const (
	unknown place = iota
	ready
	held
	dead
	shelvedParked
	finished
)

// some draws a task that is in one of the places.
func (m *queueModel) some(t *rapid.T, places ...place) (string, *modelTask) {
	var ids []string
	for id, task := range m.tasks {
		if slices.Contains(places, task.where) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("no such task")
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "id")
	return id, m.tasks[id]
}

func (m *queueModel) publish(t *rapid.T) {
	id, task := m.some(t, unknown, ready, held, dead, shelvedParked, finished)
	p := msg(id)
	p.Queue, p.Priority = m.queue, rapid.IntRange(0, 9).Draw(t, "priority")
	if task.where != unknown && task.round > 0 {
		t.Skip("the first round may be forgotten when later ones are known")
	}
	if r := m.c.Broker.Publish(m.c.soon(), []engine.Publication{p})[0]; r.Err != nil || r.ID != id {
		t.Fatalf("publish: got %+v", r)
	}
	if task.where == unknown {
		task.where, task.priority = ready, p.Priority
	}
}

// top returns the least urgent step that may come next, and how many are
// ready. In real time a message that was published an instant ago may still be
// overtaken by others, so order is left to the case on priorities there.
func (m *queueModel) top() (step, n int) {
	step = len(engine.PrioritySteps)
	for _, task := range m.tasks {
		if task.where != ready {
			continue
		}
		if n++; !task.back && m.c.engine.Bubble {
			step = min(step, engine.Step(task.priority))
		}
	}
	return step, n
}

func (m *queueModel) take(t *rapid.T) {
	best, n := m.top()
	if n == 0 {
		t.Skip("nothing is ready")
	}
	ds, err := m.r.Take(m.c.soon(), 1)
	if err != nil || len(ds) != 1 {
		t.Fatalf("take: got %d messages, %v", len(ds), err)
	}
	d := ds[0]
	task := m.tasks[d.ID]
	if task == nil || task.where != ready || engine.Step(task.priority) > best {
		t.Fatalf("take: got %q, which is %+v; the best ready step is %d", d.ID, task, best)
	}
	if !task.again {
		task.attempt++
	}
	if d.Attempt != task.attempt || d.Deliveries != 1 {
		t.Fatalf("take %q: got attempt %d, delivery %d, want %d, 1", d.ID, d.Attempt, d.Deliveries, task.attempt)
	}
	task.where, task.held, task.again, task.back = held, d, false, false
}

func (m *queueModel) settle(t *rapid.T, s engine.Settlement) {
	if err := m.r.Settle(m.c.soon(), []engine.Settlement{s})[0]; err != nil {
		t.Fatalf("settle: %v", err)
	}
	m.old = append(m.old, s.Delivery)
	m.tasks[s.Delivery.ID].held = nil
}

func (m *queueModel) succeed(t *rapid.T) {
	_, task := m.some(t, held)
	m.settle(t, success(task.held))
	task.where = finished
}

func (m *queueModel) giveBack(t *rapid.T) {
	_, task := m.some(t, held)
	m.settle(t, verdict(task.held, engine.Return, ""))
	task.where, task.again, task.back = ready, true, true
	if task.wish {
		task.where = finished
	}
}

func (m *queueModel) retry(t *rapid.T) {
	_, task := m.some(t, held)
	if task.wish {
		t.Skip("it should stop")
	}
	task.round++
	m.settle(t, retry(task.held, task.round, 0))
	task.where, task.back = ready, true
}

func (m *queueModel) shelve(t *rapid.T, v engine.Verdict, to place) {
	_, task := m.some(t, held)
	if task.wish {
		t.Skip("it should stop")
	}
	s := verdict(task.held, v, "because")
	if v == engine.Bury {
		s = bury(task.held, "because")
	}
	m.settle(t, s)
	task.where = to
}

func (m *queueModel) restore(t *rapid.T) {
	id, task := m.some(t, dead)
	if err := m.c.Broker.Restore(m.c.soon(), engine.Dead, []string{id})[0]; err != nil {
		t.Fatalf("restore %q: %v", id, err)
	}
	task.where, task.back = ready, true
	if err := m.c.Broker.Restore(m.c.soon(), engine.Dead, []string{id})[0]; !errors.Is(err, engine.ErrNotFound) {
		t.Fatalf("restore %q again: got %v", id, err)
	}
}

func (m *queueModel) revoke(t *rapid.T) {
	id, task := m.some(t, unknown, ready, held, finished)
	s := engine.State{ID: id, Status: engine.Revoked, Record: []byte("{}")}
	if err := m.c.Broker.Revoke(m.c.soon(), []engine.State{s})[0]; err != nil {
		t.Fatalf("revoke %q: %v", id, err)
	}
	if task.where == held {
		task.wish = true
		return
	}
	task.where = finished
}

// stale hands in what was settled before.
func (m *queueModel) stale(t *rapid.T) {
	if len(m.old) == 0 {
		t.Skip("nothing was settled")
	}
	d := rapid.SampledFrom(m.old).Draw(t, "delivery")
	s := rapid.SampledFrom([]engine.Settlement{success(d), verdict(d, engine.Return, ""), bury(d, "x"), retry(d, 99, 0)}).Draw(t, "settlement")
	if err := m.r.Settle(m.c.soon(), []engine.Settlement{s})[0]; !errors.Is(err, engine.ErrSuperseded) {
		t.Fatalf("settle %q again: got %v", d.ID, err)
	}
}

// drain takes and settles all that is ready, and nothing else may be there.
func (m *queueModel) drain(t *rapid.T) {
	for _, n := m.top(); n > 0; _, n = m.top() {
		m.take(t)
	}
	for id, task := range m.tasks {
		if task.where == held {
			m.settle(t, success(task.held))
			task.where = finished
		}
		if err := m.c.Broker.Drop(m.c.soon(), engine.Dead, []string{id})[0]; task.where == dead && err != nil {
			t.Fatalf("drop %q: %v", id, err)
		}
	}
	waits := func() int { q := m.c.queue(m.queue); return q.Ready + q.Delayed + q.Held }
	if waits() != 0 { // an engine may leave what was revoked until someone takes
		if ds, err := m.r.Take(m.c.within(m.c.quiet()), 1); len(ds) > 0 {
			t.Fatalf("after all was settled: got %q, %v, which is %+v", ds[0].ID, err, m.tasks[ds[0].ID])
		}
	}
	if n := waits(); n != 0 {
		t.Fatalf("after all was settled %d messages are there", n)
	}
}
