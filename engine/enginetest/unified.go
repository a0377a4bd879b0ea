package enginetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var unifiedTests = []test{
	{"a claim is the stream's reset and STARTED", "readers see a run begin", "", claimIsReset},
	{"a settlement is the stream's end and the state", "one record, so that they cannot differ", "", settleIsEnd},
	{"a settlement without a state ends the task", "nobody waits in vain", "", settleNothing},
	{"what a run puts is in its stream", "a reader needs one connection", "", putInStream},
	{"a run writes its stream with its fence", "tokens are the task's", "", claimAppends},
	{"a superseded run writes nothing", "neither output nor state nor end", "", supersededWrites},
	{"a retry is a state in the stream", "readers see why it begins again", "", retryInStream},
	{"a revoked waiting task has its end", "readers of the stream are told", "", revokeEnds},
	{"a revoked running task ends as it was settled", "its owner may still say why", "", revokeRunningEnds},
	{"a revoked task whose owner died has its end", "with the state of the revoke", "", revokeOrphanEnds},
	{"a revoke of a finished task changes nothing", "there is one outcome", "", revokeFinishedEnds},
	{"a poison message has its end", "written though every worker died", "", poisonEnds},
	{"a buried task has its end, a parked one has none", "one failed, the other waits", "", shelfEnds},
	{"a returned task has no end", "it has not begun", "", returnedPending},
	{"a restored task goes on", "its final state is cleared", "", restoredGoesOn},
	{"settle, revoke and the lease race", "exactly one end, whoever wins", "", endsRace},
	{"a watcher and a tail see one outcome", "at the same time", "", seenTogether},
	{"a task's state and stream are kept for its time to live", "and not for ever", "", taskExpires},
	{"a forgotten task is forgotten whole", "state and stream", "", taskForgotten},
	{"a running task can be forgotten", "and still settles", "", runningForgotten},
	{"claim, state and stream survive a kill", "as one record", "restart", unifiedSurvives},
}

func claimIsReset(c *T) {
	c.publish(msg("a"))
	c.status("a", engine.Pending)
	c.stream("a")
	d := c.one(c.receiver())
	s := c.state("a")
	if s.Status != engine.Started || s.Attempt != 1 || time.Since(s.Time) > patience {
		c.Errorf("state after the take: %+v, want STARTED by attempt 1", s)
	}
	c.stream("a", "reset 1.0 ")
	_, err := c.Streams.Begin(c.soon(), "other")
	c.want("begin of another stream", err, nil)
	if d.Fence == 0 {
		c.Error("the delivery has no fence")
	}
}

func settleIsEnd(c *T) {
	for _, status := range []string{engine.Success, engine.Failure, engine.Revoked, engine.Rejected, engine.Ignored} {
		c.publish(msg(status))
		r := c.receiver()
		s := success(c.one(r))
		s.State.Status, s.State.Record = status, []byte("outcome "+status)
		c.settle(r, s)
		if got := c.state(status); got.Status != status || string(got.Record) != "outcome "+status || got.Attempt != 1 {
			c.Errorf("state: got %+v, want %s", got, status)
		}
		c.stream(status, "reset 1.0 ", "end 1.1 outcome "+status)
		_, err := c.Streams.Begin(c.soon(), status)
		c.want("begin of a finished task's stream", err, engine.ErrEnded)
		r.Close()
	}
}

func settleNothing(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, engine.Settlement{Delivery: c.one(r)})
	c.stream("a", "reset 1.0 ", "end 1.1 ")
	states, err := c.watched(c.soon(), "a")
	if err != nil || len(states) != 1 || !engine.Ready(states[0].Status) || len(states[0].Record) != 0 {
		c.Errorf("watched %+v, %v, want one final state without a record", states, err)
	}
	c.publish(msg("a"))
	c.none(r, c.quiet(), "a finished task that is published again")
}

func putInStream(c *T) {
	f := c.claim("a")
	c.append(data("a", f, "token"))
	c.put(put("a", engine.Progress, "half", f), put("a", "CUSTOM", "c", f))
	c.append(data("a", f, "more"))
	c.stream("a", "reset 1.0 ", "data 1.1 token", "progress 1.2 half", "state 1.3 c", "data 1.4 more")
	if s := c.state("a"); s.Status != "CUSTOM" {
		c.Errorf("state: got %+v, want CUSTOM: output is no state", s)
	}
}

func claimAppends(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	d := c.one(r)
	c.Streams.Retain("a", d.Fence, engine.Retention{Count: 3})
	for i := range 5 {
		c.append(data("a", d.Fence, fmt.Sprint(i)))
	}
	c.settle(r, success(d))
	c.stream("a", "reset 1.0 ", "data 1.3 2", "data 1.4 3", "data 1.5 4", `end 1.6 {"status":"SUCCESS","result":1}`)
	c.want("append after the end", c.Streams.Append(c.soon(), []engine.Append{data("a", d.Fence, "x")})[0], engine.ErrSuperseded)
	c.want("put after the end", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", d.Fence)})[0], engine.ErrSuperseded)
}

func supersededWrites(c *T) {
	r, stale, live := superseded(c)
	c.append(data("a", live.Fence, "live"))
	c.want("append", c.Streams.Append(c.soon(), []engine.Append{data("a", stale.Fence, "x")})[0], engine.ErrSuperseded)
	c.want("put", c.Results.Put(c.soon(), []engine.StatePut{put("a", engine.Progress, "x", stale.Fence)})[0], engine.ErrSuperseded)
	c.want("end", c.Streams.End(c.soon(), "a", stale.Fence, nil, 0), engine.ErrSuperseded)
	s := success(stale)
	s.State.Record = []byte("stale")
	s.Follow = []engine.Publication{msg("follow-up")}
	c.want("settle", r.Settle(c.soon(), []engine.Settlement{s})[0], engine.ErrSuperseded)
	c.Streams.Retain("a", stale.Fence, engine.Retention{Count: 1})
	c.append(data("a", live.Fence, "still"))
	c.stream("a", "reset 1.0 ", "reset 2.0 ", "data 2.1 live", "data 2.2 still")
	if got := c.state("a"); got.Status != engine.Started || got.Attempt != 2 {
		c.Errorf("state: got %+v, want STARTED by attempt 2", got)
	}
	c.settle(r, success(live))
	c.stream("a", "reset 1.0 ", "reset 2.0 ", "data 2.1 live", "data 2.2 still", `end 2.3 {"status":"SUCCESS","result":1}`)
	c.none(r, c.quiet(), "the follow-up of a superseded settlement")
}

func retryInStream(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	d := c.one(r)
	c.append(data("a", d.Fence, "first"))
	c.settle(r, retry(d, 1, 0))
	c.stream("a", "reset 1.0 ", "data 1.1 first", `state 1.2 {"status":"RETRY"}`)
	if s := c.state("a"); s.Status != engine.Retry || s.Attempt != 1 {
		c.Errorf("state: got %+v, want RETRY by attempt 1", s)
	}
	d = c.one(r)
	c.want("append by the first attempt", c.Streams.Append(c.soon(), []engine.Append{data("a", d.Fence-1, "x")})[0], engine.ErrSuperseded)
	c.append(data("a", d.Fence, "second"))
	c.settle(r, success(d))
	c.stream("a", "reset 1.0 ", "data 1.1 first", `state 1.2 {"status":"RETRY"}`,
		"reset 2.0 ", "data 2.1 second", `end 2.2 {"status":"SUCCESS","result":1}`)
}

const revokedEnd = `{"status":"REVOKED"}`

func revokeEnds(c *T) {
	delayed, again := msg("delayed"), msg("again")
	delayed.At = time.Now().Add(time.Hour)
	c.publish(again)
	r := c.receiver()
	c.settle(r, retry(c.one(r), 1, time.Hour))
	c.publish(msg("waiting"), delayed)
	for _, id := range []string{"waiting", "delayed", "unknown"} {
		got := c.follow(c.soon(), id, "")
		c.revoke(id)
		if s := c.state(id); s.Status != engine.Revoked || string(s.Record) != revokedEnd {
			c.Errorf("state of %s: got %+v, want REVOKED", id, s)
		}
		if rs := <-got; len(rs) != 1 || rs[0].Kind != engine.KindEnd || string(rs[0].Payload) != revokedEnd || rs[0].Attempt != 0 || rs[0].N != 0 {
			c.Errorf("stream of %s: got %q, want the end alone, numbered 0.0", id, lines(rs))
		}
	}
	c.revoke("again")
	c.stream("again", "reset 1.0 ", `state 1.1 {"status":"RETRY"}`, "end 1.2 "+revokedEnd)
	c.status("again", engine.Revoked)
	c.none(r, c.quiet(), "revoked tasks")
}

func revokeRunningEnds(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	d := c.one(r)
	c.revoke("a")
	c.append(data("a", d.Fence, "last words"))
	if s := c.state("a"); engine.Ready(s.Status) {
		c.Errorf("state while it still runs: %+v", s)
	}
	s := success(d)
	s.State.Status, s.State.Record = engine.Revoked, []byte("terminated")
	c.settle(r, s)
	c.stream("a", "reset 1.0 ", "data 1.1 last words", "end 1.2 terminated")
	c.status("a", engine.Revoked)
}

func revokeOrphanEnds(c *T) {
	c.publish(msg("a"))
	d := c.one(c.receiver())
	c.append(data("a", d.Fence, "x"))
	c.revoke("a")
	other := c.receiver() // an engine may need someone who takes
	c.none(other, maxLease+slack, "a revoked task whose owner died")
	c.stream("a", "reset 1.0 ", "data 1.1 x", "end 1.2 "+revokedEnd)
	c.status("a", engine.Revoked)
}

func revokeFinishedEnds(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, success(c.one(r)))
	c.revoke("a")
	c.status("a", engine.Success)
	c.stream("a", "reset 1.0 ", `end 1.1 {"status":"SUCCESS","result":1}`)
}

func poisonEnds(c *T) {
	c.publish(msg("a"), msg("b"))
	r := c.receive(engine.ReceiveOptions{MaxDeliveries: 1, Shelve: func(m engine.Message, reason string) engine.State {
		return engine.State{ID: m.ID, Status: engine.Failure, Record: []byte("poison " + m.ID)}
	}})
	c.take(r, 2)
	c.none(r, maxLease+2*slack, "poison messages")
	for _, id := range []string{"a", "b"} {
		if s := c.state(id); s.Status != engine.Failure || string(s.Record) != "poison "+id {
			c.Errorf("state of %s: got %+v, want FAILURE", id, s)
		}
		c.stream(id, "reset 1.0 ", "end 1.1 poison "+id)
	}
	bare := c.receive(engine.ReceiveOptions{MaxDeliveries: 1, Queues: []string{"bare"}})
	p := msg("bare")
	p.Queue = "bare"
	c.publish(p)
	c.one(bare)
	c.none(bare, maxLease+2*slack, "a poison message")
	if s := c.state("bare"); s.Status != engine.Failure || len(s.Record) != 0 {
		c.Errorf("state without Shelve: got %+v, want FAILURE without a record", s)
	}
}

func shelfEnds(c *T) {
	c.publish(msg("dead"), msg("parked"))
	r := c.receiver()
	ds := c.take(r, 2)
	c.settle(r, bury(ds[0], "bad"), verdict(ds[1], engine.Park, "unknown"))
	c.status("dead", engine.Failure)
	c.stream("dead", "reset 1.0 ", `end 1.1 {"status":"FAILURE"}`)
	c.status("parked", engine.Pending)
	for _, r := range c.records("parked", "") {
		if r.Kind == engine.KindEnd {
			c.Error("the stream of a parked task has ended")
		}
	}
}

func returnedPending(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	d := c.one(r)
	c.settle(r, verdict(d, engine.Return, ""))
	if s := c.state("a"); engine.Ready(s.Status) {
		c.Errorf("state: got %+v, want none that is final", s)
	}
	again := c.one(r)
	if again.Fence <= d.Fence {
		c.Errorf("fence went from %d to %d", d.Fence, again.Fence)
	}
	c.want("append by the run that gave back", c.Streams.Append(c.soon(), []engine.Append{data("a", d.Fence, "x")})[0], engine.ErrSuperseded)
	c.settle(r, success(again))
	rs := c.records("a", "")
	if last := rs[len(rs)-1]; last.Kind != engine.KindEnd || last.Attempt != 1 || last.N != 1 {
		c.Errorf("stream: got %q, want the end of attempt 1", lines(rs))
	}
}

func restoredGoesOn(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, bury(c.one(r), "bad"))
	c.want("restore", c.Broker.Restore(c.soon(), engine.Dead, []string{"a"})[0], nil)
	if s := c.state("a"); engine.Ready(s.Status) {
		c.Errorf("state after the restore: %+v", s)
	}
	d := c.one(r)
	if d.Attempt != 2 || d.Deliveries != 1 {
		c.Errorf("got attempt %d, delivery %d, want 2, 1", d.Attempt, d.Deliveries)
	}
	c.append(data("a", d.Fence, "now"))
	c.settle(r, success(d))
	c.status("a", engine.Success)
	rs := c.records("a", "")
	if n := len(rs); n < 3 || lines(rs)[n-1] != `end 2.2 {"status":"SUCCESS","result":1}` || lines(rs)[n-2] != "data 2.1 now" {
		c.Errorf("stream: got %q, want attempt 2 and its end", lines(rs))
	}
}

func endsRace(c *T) {
	const n = 30
	for i := range n {
		id := fmt.Sprint("r", i)
		c.publish(msg(id))
		r := c.receive(engine.ReceiveOptions{Lease: maxLease})
		d := c.one(r)
		var wg sync.WaitGroup
		wins := make([]bool, 4)
		for j := range wins {
			wg.Go(func() {
				if j == 3 {
					c.revoke(id)
					return
				}
				s := success(d)
				s.State.Record = fmt.Append(nil, j)
				err := r.Settle(c.soon(), []engine.Settlement{s})[0]
				if wins[j] = err == nil; err != nil && !errors.Is(err, engine.ErrSuperseded) {
					c.Errorf("settle: %v", err)
				}
			})
		}
		wg.Wait()
		winner, count := -1, 0
		for j, won := range wins {
			if won {
				winner = j
				count++
			}
		}
		if count != 1 {
			c.Fatalf("%d of three settlements of one delivery were accepted", count)
		}
		c.stream(id, "reset 1.0 ", fmt.Sprint("end 1.1 ", winner))
		if s := c.state(id); string(s.Record) != fmt.Sprint(winner) {
			c.Errorf("state: got %+v, want that of settlement %d", s, winner)
		}
		r.Close()
	}
}

func seenTogether(c *T) {
	const n = 40
	c.publish(msgs(n)...)
	tails := make([]<-chan []engine.Record, n)
	outcomes := make([]chan string, n)
	for i, p := range msgs(n) {
		tails[i] = c.follow(c.soon(), p.ID, "")
		outcomes[i] = make(chan string, 1)
		go func() {
			states, err := c.watched(c.soon(), p.ID)
			if err != nil || len(states) == 0 {
				outcomes[i] <- fmt.Sprint(len(states), " states, ", err)
				return
			}
			outcomes[i] <- string(states[len(states)-1].Record)
		}()
	}
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	var ss []engine.Settlement
	for _, d := range c.take(r, n) {
		s := success(d)
		s.State.Record = []byte("outcome of " + d.ID)
		ss = append(ss, s)
	}
	c.settle(r, ss...)
	for i, p := range msgs(n) {
		want := "outcome of " + p.ID
		if rs := <-tails[i]; len(rs) != 2 || string(rs[1].Payload) != want {
			c.Errorf("tail of %s: got %q", p.ID, lines(rs))
		}
		if got := <-outcomes[i]; got != want {
			c.Errorf("watch of %s: got %q, want %q", p.ID, got, want)
		}
	}
}

func taskExpires(c *T) {
	c.publish(msg("a"), msg("b"))
	r := c.receiver()
	ds := c.take(r, 2)
	short, long := success(ds[0]), success(ds[1])
	short.State.TTL, long.State.TTL = time.Second, time.Hour
	c.settle(r, short, long)
	c.status("a", engine.Success)
	c.poll(time.Second+2*slack, "state and stream are gone", func() bool {
		return c.state("a").Status == engine.Pending && len(c.records("a", "")) == 0
	})
	c.status("b", engine.Success)
	c.stream("b", "reset 1.0 ", `end 1.1 {"status":"SUCCESS","result":1}`)
	c.none(r, c.quiet(), "tasks that were settled")
}

func taskForgotten(c *T) {
	c.publish(msg("a"))
	r := c.receiver()
	c.settle(r, success(c.one(r)))
	if err := c.Results.Forget(c.soon(), []string{"a"}); err != nil {
		c.Fatal(err)
	}
	c.status("a", engine.Pending)
	c.stream("a")
	c.publish(msg("a"))
	c.none(r, c.quiet(), "a forgotten task that is published again at once")
}

func runningForgotten(c *T) {
	c.publish(msg("a"))
	r := c.receive(engine.ReceiveOptions{Lease: maxLease})
	d := c.one(r)
	c.append(data("a", d.Fence, "x"))
	if err := c.Results.Forget(c.soon(), []string{"a"}); err != nil {
		c.Fatal(err)
	}
	err := r.Settle(c.soon(), []engine.Settlement{success(d)})[0]
	if err != nil && !errors.Is(err, engine.ErrSuperseded) {
		c.Errorf("settle: %v", err)
	}
	c.none(r, c.quiet(), "a task that was forgotten and settled")
}

func unifiedSurvives(c *T) {
	c.publish(msg("done"), msg("running"))
	r := c.receiver()
	ds := c.take(r, 2)
	c.settle(r, success(ds[0]))
	c.append(data("running", ds[1].Fence, "x"))
	c.put(put("running", engine.Progress, "half", ds[1].Fence))
	c = c.on(c.engine.Restart(c.T, c.Set))
	c.status("done", engine.Success)
	c.stream("done", "reset 1.0 ", `end 1.1 {"status":"SUCCESS","result":1}`)
	c.status("running", engine.Progress)
	c.stream("running", "reset 1.0 ", "data 1.1 x", "progress 1.2 half")
	r = c.receiver()
	d := c.one(r)
	if d.ID != "running" || d.Attempt != 2 {
		c.Errorf("got %q, attempt %d, want running, 2", d.ID, d.Attempt)
	}
	c.want("append by the old run", c.Streams.Append(c.soon(), []engine.Append{data("running", ds[1].Fence, "y")})[0], engine.ErrSuperseded)
	c.settle(r, success(d))
	c.stream("running", "reset 1.0 ", "data 1.1 x", "progress 1.2 half", "reset 2.0 ", `end 2.1 {"status":"SUCCESS","result":1}`)
}
