package redisengine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Put implements engine.Results.
func (e *Engine) Put(ctx context.Context, puts []engine.StatePut) []error {
	return e.states(ctx, puts, func(p engine.StatePut, args []string) ([]string, *rueidis.Lua, error) {
		if engine.Ready(p.State.Status) {
			return nil, nil, fmt.Errorf("redis: put %s: a final state is settled", p.State.Status)
		}
		return append(args, p.State.ID, fenceText(p.Fence), p.State.Status, string(p.State.Record), keepFor(p.State.TTL, engine.DefaultTTL)), putScript, nil
	})
}

// Finish implements engine.Results.
func (e *Engine) Finish(ctx context.Context, puts []engine.StatePut) []error {
	return e.states(ctx, puts, func(p engine.StatePut, args []string) ([]string, *rueidis.Lua, error) {
		if !engine.Ready(p.State.Status) {
			return nil, nil, fmt.Errorf("redis: finish with %s: it is not a final state", p.State.Status)
		}
		return append(args, p.State.ID, p.State.Status, string(p.State.Record), keepFor(p.State.TTL, engine.DefaultTTL)), finishScript, nil
	})
}

// states writes states one by one: they are rare, and may be large.
func (e *Engine) states(ctx context.Context, puts []engine.StatePut, say func(engine.StatePut, []string) ([]string, *rueidis.Lua, error)) []error {
	errs := make([]error, len(puts))
	for i, p := range puts {
		if e.closed() {
			errs[i] = engine.ErrClosed
			continue
		}
		if errs[i] = p.State.Check(); errs[i] != nil {
			continue
		}
		args, script, err := say(p, e.arguments(5))
		if err != nil {
			errs[i] = err
			continue
		}
		codes, err := e.codes(e.run(ctx, script, args))
		switch {
		case err != nil:
			errs[i] = err
		case len(codes) != 1 || codes[0] == 1:
			errs[i] = engine.ErrSuperseded
		}
	}
	return errs
}

func fenceText(f engine.Fence) string { return strconv.FormatUint(uint64(f), 10) }

// Get implements engine.Results.
func (e *Engine) Get(ctx context.Context, ids []string) ([]engine.State, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if len(ids) == 0 {
		return nil, nil
	}
	args := append(append(e.arguments(1+len(ids)), strconv.Itoa(maxRecord)), ids...)
	parts, err := e.ask(ctx, getScript, args)
	if err != nil {
		return nil, err
	}
	if len(parts) != 7*len(ids) {
		return nil, fmt.Errorf("redis: %d answers for %d states", len(parts), len(ids))
	}
	out := make([]engine.State, len(ids))
	for i, id := range ids {
		if out[i], err = readState(id, parts[7*i:7*i+7]); err != nil {
			return nil, fmt.Errorf("redis: state of %s: %w", id, err)
		}
	}
	return out, nil
}

// readState reads what lua/get.lua says of a task.
func readState(id string, parts []rueidis.RedisMessage) (engine.State, error) {
	s := engine.State{ID: id, Status: engine.Pending}
	if parts[0].IsInt64() {
		n, err := parts[0].AsInt64()
		return s, errors.Join(err, engine.CheckSize("state record", int(n), maxRecord))
	}
	record, held := text(parts[0]), text(parts[1])
	c, known := readClaim(held)
	put := number(parts[5])
	if known && c.owner != "" && put != c.attempt {
		s.Status, s.Attempt, s.Time = engine.Started, c.attempt, c.taken
		return s, nil
	}
	s.Status = statusOf(record, text(parts[3]))
	switch {
	case s.Status == "" && number(parts[6]) == 1:
		return engine.State{ID: id, Status: engine.Success, Attempt: 1}, nil
	case s.Status == "":
		s.Status = engine.Pending
		return s, nil
	}
	if record != "" {
		s.Record = []byte(record)
	}
	s.Attempt = max(number(parts[2]), 1)
	if text(parts[2]) == "0" { // revoked before it ran
		s.Attempt = 0
	}
	s.Time = timeOf(record, text(parts[4]))
	return s, nil
}

// statusOf reads a record's status, and takes the one that was noted where it
// does not say any.
func statusOf(record, noted string) string {
	if record != "" {
		if status := celery.Status([]byte(record)); status != "" {
			return status
		}
	}
	return noted
}

// timeOf is the time of a state: that of the last put, or the end.
func timeOf(record, noted string) time.Time {
	if ms, err := strconv.ParseInt(noted, 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	if r, err := celery.DecodeResult([]byte(record)); err == nil {
		return r.DateDone
	}
	return time.Time{}
}

func text(m rueidis.RedisMessage) string {
	s, err := m.ToString()
	if err != nil { // nil, and what is no text, count as none
		return ""
	}
	return s
}

func number(m rueidis.RedisMessage) int {
	n, err := m.AsInt64()
	if err != nil {
		return 0
	}
	return int(n)
}

// lookAgain is after how long a reader looks though nothing was said. It bounds
// what a lost word costs.
const lookAgain = time.Minute

// hear opens the gate when there may be news of a task or stream.
func (e *Engine) hear(ctx context.Context, id string, g *gate) (deaf func(), err error) {
	one, err := e.subs.listen(ctx, e.own("s:"+id), false, func([]byte, bool) { g.open() })
	if err != nil {
		return nil, err
	}
	two, err := e.subs.listen(ctx, e.result(id), false, func([]byte, bool) { g.open() })
	if err != nil {
		one()
		return nil, err
	}
	return func() { one(); two() }, nil
}

// waitFor waits for news, and says why there are none to wait for.
func (e *Engine) waitFor(ctx context.Context, news <-chan struct{}) error {
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-news:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return engine.ErrClosed
	}
	return nil
}

// Watch implements engine.Results.
func (e *Engine) Watch(ctx context.Context, id string) iter.Seq2[engine.State, error] {
	return func(yield func(engine.State, error) bool) {
		var g gate
		deaf, err := e.hear(ctx, id, &g)
		if err != nil {
			yield(engine.State{}, err)
			return
		}
		defer deaf()
		var last engine.State
		for first := true; ; {
			news := g.next()
			s, err := e.look(ctx, id)
			if err == nil && (first || changed(last, s)) {
				if !yield(s, nil) || engine.Ready(s.Status) {
					return
				}
				first, last = false, s
			}
			if err = e.calm(ctx, err, news); err != nil {
				yield(engine.State{}, err)
				return
			}
		}
	}
}

func changed(a, b engine.State) bool {
	return a.Status != b.Status || a.Attempt != b.Attempt || string(a.Record) != string(b.Record)
}

// look gets a state, and asks that a claim of the task be told.
func (e *Engine) look(ctx context.Context, id string) (engine.State, error) {
	until := strconv.FormatInt(time.Now().Add(2*lookAgain).UnixMilli(), 10)
	if err := e.client.Do(ctx, e.client.B().Arbitrary("ZADD").Keys(e.own("want")).Args(until, id).Build()).Error(); err != nil && !errors.Is(e.wrong(err), engine.ErrFull) { // then a claim is seen later
		return engine.State{}, err
	}
	states, err := e.Get(ctx, []string{id})
	if err != nil {
		return engine.State{}, err
	}
	return states[0], nil
}

// calm waits for news, or a moment if the last look failed because Redis is
// away. Another error it returns.
func (e *Engine) calm(ctx context.Context, err error, news <-chan struct{}) error {
	if err == nil {
		return e.waitFor(ctx, news)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.closed() || !away(errors.Unwrap(err)) && !away(err) {
		return e.wrong(err)
	}
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return engine.ErrClosed
	}
}

// Forget implements engine.Results.
func (e *Engine) Forget(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := e.remove(ctx, id, true); err != nil {
			return err
		}
	}
	return nil
}
