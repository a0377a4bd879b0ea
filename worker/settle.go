package worker

import (
	"errors"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// settlement is what is handed to the engine, as often as it takes.
type settlement struct {
	ending
	run   *run
	tries int
}

// maxSettle bounds one batch of settlements.
const maxSettle = 256

// finish decides a delivery: whoever comes first. It frees the slot at once;
// the delivery stays held, and its lease renewed, until the engine has it.
func (s *session) finish(r *run, e ending) {
	if !r.over.CompareAndSwap(false, true) {
		return
	}
	if r.out != nil {
		r.out.close(engine.ErrSuperseded)
	}
	s.settles <- &settlement{ending: e, run: r}
	r.free()
}

// settleLoop gathers what is over and hands it in.
func (s *session) settleLoop() {
	batch := make([]*settlement, 0, maxSettle)
	for {
		select {
		case <-s.life.Done():
			s.discard()
			return
		case st := <-s.settles:
			batch = append(batch[:0], st)
		}
		for len(batch) < maxSettle {
			select {
			case st := <-s.settles:
				batch = append(batch, st)
				continue
			default:
			}
			break
		}
		s.settle(batch)
	}
}

// settle hands in what came from one receiver after the other.
func (s *session) settle(batch []*settlement) {
	if batch = s.cut(batch); len(batch) == 0 {
		return
	}
	for len(batch) > 0 {
		n := 1
		for n < len(batch) && batch[n].run.from == batch[0].run.from {
			n++
		}
		s.settleAt(batch[0].run.from.recv, batch[:n])
		batch = batch[n:]
	}
}

func (s *session) settleAt(recv engine.Receiver, batch []*settlement) {
	ss := make([]engine.Settlement, len(batch))
	for i, st := range batch {
		ss[i] = st.Settlement
	}
	for i, err := range recv.Settle(s.life, ss) {
		st := batch[i]
		switch {
		case err == nil:
			for _, e := range st.tell {
				s.events.Send(e)
			}
			s.drop(st.Delivery)
			s.announce(st)
		case errors.Is(err, engine.ErrSuperseded):
			s.log.Warn("task was given to another worker", "task", st.Delivery.Task, "id", st.Delivery.ID)
			s.drop(st.Delivery)
		case errors.Is(err, engine.ErrLimit):
			s.tooLarge(st, err)
		default:
			s.again(st, err)
		}
	}
}

// cut fails what hangs on the outcomes of a batch, and returns those that can
// be handed in. It comes first: should this process die in between, the task
// runs again, but who waits for a later step of its chain knows how it ended.
func (s *session) cut(batch []*settlement) []*settlement {
	ready := batch[:0]
	for _, st := range batch {
		if err := s.finishAll(st.cut); err != nil {
			s.again(st, err)
			continue
		}
		st.cut = nil
		ready = append(ready, st)
	}
	return ready
}

func (s *session) finishAll(puts []engine.StatePut) error {
	if len(puts) == 0 {
		return nil
	}
	for _, err := range s.app.Engines().Results.Finish(s.life, puts) {
		if err != nil && !errors.Is(err, engine.ErrSuperseded) && !errors.Is(err, engine.ErrLimit) {
			return err
		}
	}
	return nil
}

// again hands a settlement in once more, later: the engine is away.
func (s *session) again(st *settlement, err error) {
	st.tries++
	if st.tries == 1 {
		s.log.Warn("settle task", "task", st.Delivery.Task, "id", st.Delivery.ID, "err", err)
	}
	wait := min(50*time.Millisecond<<min(st.tries, 5), time.Second)
	time.AfterFunc(wait, func() {
		select {
		case s.settles <- st:
		case <-s.life.Done():
			s.drop(st.Delivery)
		}
	})
}

// tooLarge keeps a short failure in place of what the engine does not carry.
func (s *session) tooLarge(st *settlement, err error) {
	if st.tries++; st.tries > 1 { // the short one was refused as well
		s.log.Error("settle task", "task", st.Delivery.Task, "id", st.Delivery.ID, "err", err)
		s.drop(st.Delivery)
		return
	}
	s.log.Error("outcome too large", "task", st.Delivery.Task, "id", st.Delivery.ID, "err", err)
	st.ending = st.run.unreadable(err)
	select {
	case s.settles <- st:
	default: // both settlers must not wait for each other
		go s.settle([]*settlement{st}) // ends with the engine's answer
	}
}

// announce tells workers that know a parked task of it.
func (s *session) announce(st *settlement) {
	if st.Verdict != engine.Park || st.Reason == partOfChord {
		return
	}
	if err := s.app.Engines().Broker.Broadcast(s.life, topicParked, engine.Message{Body: []byte(st.Delivery.Task)}); err != nil {
		s.log.Warn("announce parked task", "task", st.Delivery.Task, "err", err)
	}
}

// discard forgets what could not be handed in: it comes back by the end of its
// lease.
func (s *session) discard() {
	for {
		select {
		case st := <-s.settles:
			s.drop(st.Delivery)
		default:
			return
		}
	}
}
