package redisengine

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
)

// retains holds the retention of streams that were given one, by the fence
// under which it holds. It is bounded: what is evicted has the defaults.
type retains struct {
	mu sync.Mutex
	m  map[string]retained
}

type retained struct {
	fence engine.Fence
	engine.Retention
}

// maxRetains is how many streams of one process may have a retention of their
// own.
const maxRetains = 100_000

func (r *retains) set(stream string, f engine.Fence, keep engine.Retention) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]retained{}
	}
	if len(r.m) >= maxRetains {
		for k := range r.m { // any one
			delete(r.m, k)
			break
		}
	}
	r.m[stream] = retained{f, keep}
}

func (r *retains) get(stream string, f engine.Fence) engine.Retention {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.m[stream]; ok && k.fence == f {
		return k.Retention
	}
	return engine.Retention{}.WithDefaults()
}

func (r *retains) drop(stream string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, stream)
}

// Retain implements engine.Streams.
func (e *Engine) Retain(stream string, fence engine.Fence, keep engine.Retention) {
	e.retains.set(stream, fence, keep.WithDefaults())
}

// Begin implements engine.Streams.
func (e *Engine) Begin(ctx context.Context, stream string) (engine.Fence, error) {
	if e.closed() {
		return 0, engine.ErrClosed
	}
	if err := engine.CheckName("stream name", stream, engine.MaxID); err != nil {
		return 0, err
	}
	var s string
	args := append(e.arguments(2), stream, callName())
	err := e.again(ctx, func() (err error) {
		s, err = e.run(ctx, beginScript, args).ToString()
		return err
	})
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("redis: begin of a stream answered %q: %w", s, err)
	case n == 0:
		return 0, engine.ErrEnded
	}
	return engine.Fence(n), nil
}

// End implements engine.Streams.
func (e *Engine) End(ctx context.Context, stream string, fence engine.Fence, payload []byte, keep time.Duration) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := engine.CheckSize("stream record", len(payload), engine.MaxRecord); err != nil {
		return err
	}
	e.retains.drop(stream)
	return e.change(ctx, endScript, append(e.arguments(5), stream, fenceText(fence), string(payload), keepFor(keep, engine.DefaultTTL), callName()))
}

// change runs a script that answers 1 if its call is superseded, and knows a
// call that is repeated by its name.
func (e *Engine) change(ctx context.Context, s *rueidis.Lua, args []string) error {
	var code int64
	err := e.again(ctx, func() (err error) {
		code, err = e.run(ctx, s, args).AsInt64()
		return err
	})
	if err == nil && code == 1 {
		return engine.ErrSuperseded
	}
	return err
}

// callName makes up eight letters.
func callName() string {
	const letters = "0123456789abcdefghijklmnopqrstuv"
	name, n := make([]byte, 8), rand.Uint64()
	for i := range name {
		name[i] = letters[n&31]
		n >>= 5
	}
	return string(name)
}

// Append implements engine.Streams. Batches that are handed in one after another
// are sent so, on one connection.
func (e *Engine) Append(ctx context.Context, batches []engine.Append) []error {
	errs := make([]error, len(batches))
	for i, b := range batches {
		if errs[i] = e.appendable(b); errs[i] != nil || len(b.Records) == 0 {
			continue
		}
		errs[i] = e.change(ctx, appendScript, e.appendArgs(b))
	}
	return errs
}

func (e *Engine) appendable(b engine.Append) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := engine.CheckName("stream name", b.Stream, engine.MaxID); err != nil {
		return err
	}
	for _, r := range b.Records {
		switch r.Kind {
		case "", engine.KindData, engine.KindProgress, engine.KindState:
		default:
			return fmt.Errorf("redis: a writer writes no records of kind %s", r.Kind)
		}
		if err := engine.CheckSize("stream record", len(r.Payload), engine.MaxRecord); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) appendArgs(b engine.Append) []string {
	keep := e.retains.get(b.Stream, b.Fence)
	args := append(e.arguments(6+2*len(b.Records)), b.Stream, fenceText(b.Fence),
		strconv.Itoa(keep.Count), strconv.FormatInt(keep.Bytes, 10), millis(keep.Age), callName())
	for _, r := range b.Records {
		kind := r.Kind
		if kind == "" {
			kind = engine.KindData
		}
		args = append(args, string(kind), string(r.Payload))
	}
	return args
}

// Read implements engine.Streams.
func (e *Engine) Read(ctx context.Context, stream string, after engine.Position, most int) ([]engine.Record, error) {
	cur, err := after.Cursor(stream)
	if err != nil {
		return nil, err
	}
	rs, _, err := e.read(ctx, stream, cur.Offset, most, false)
	return rs, err
}

// read returns records after an offset, and whether the stream has ended there.
func (e *Engine) read(ctx context.Context, stream string, after uint64, most int, waits bool) ([]engine.Record, bool, error) {
	if e.closed() {
		return nil, false, engine.ErrClosed
	}
	if err := engine.CheckName("stream name", stream, engine.MaxID); err != nil {
		return nil, false, err
	}
	if after > 1<<53 {
		return nil, false, engine.ErrPosition
	}
	wait := "0"
	if waits {
		wait = "1"
	}
	args := append(e.arguments(4), stream, strconv.FormatUint(after, 10), strconv.Itoa(most), wait)
	parts, err := e.ask(ctx, readScript, args)
	if err != nil {
		return nil, false, err
	}
	f, err := readFacts(parts)
	if err != nil {
		return nil, false, fmt.Errorf("redis: read stream %s: %w", stream, err)
	}
	rs := f.records
	if !f.known {
		rs = f.madeUp()
	} else if f.over && !f.ended && len(rs) < most { // a Python worker finished what a Go worker began
		rs = append(rs, entry{offset: f.offset + 1, attempt: f.attempt, n: f.n + 1, kind: engine.KindEnd, payload: f.result, at: time.Now()})
	}
	return f.finish(stream, rs, after, most)
}

// facts are what lua/read.lua says of a stream.
type facts struct {
	records    []entry
	known      bool // it is stored
	attempt    int
	n, offset  uint64
	ended      bool
	age        time.Duration
	claim      claim
	claimed    bool
	result     []byte // of a task that is finished
	over       bool
	doneSilent bool
}

// entry is a stored record.
type entry struct {
	offset  uint64
	attempt int
	n       uint64
	kind    engine.Kind
	payload []byte
	at      time.Time
}

func readFacts(parts []rueidis.RedisMessage) (f facts, err error) {
	if len(parts) != 6 && len(parts) != 9 {
		return f, fmt.Errorf("it answered with %d parts", len(parts))
	}
	list, err := parts[0].AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return f, err
	}
	for _, x := range list {
		r, err := readEntry(x)
		if err != nil {
			return f, err
		}
		f.records = append(f.records, r)
	}
	f.known = text(parts[1]) != ""
	f.attempt, f.n, f.offset = number(parts[1]), uint64(number(parts[2])), uint64(number(parts[3]))
	f.ended = text(parts[4]) != ""
	f.age = time.Duration(number(parts[5])) * time.Millisecond
	if len(parts) == 6 {
		return f, nil
	}
	f.claim, f.claimed = readClaim(text(parts[6]))
	if f.over = !parts[7].IsNil(); f.over {
		f.result = []byte(text(parts[7]))
	}
	f.doneSilent = number(parts[8]) == 1
	return f, nil
}

func readEntry(x rueidis.XRangeEntry) (r entry, err error) {
	if _, err = fmt.Sscanf(x.ID, "%d-0", &r.offset); err != nil {
		return r, fmt.Errorf("record %q: %w", x.ID, err)
	}
	v := x.FieldValues
	ms, err1 := strconv.ParseInt(v["t"], 10, 64)
	n, err2 := strconv.ParseUint(v["n"], 10, 64)
	attempt, err3 := strconv.Atoi(v["a"])
	if err1 != nil || err2 != nil || err3 != nil {
		return r, fmt.Errorf("record %s: its facts are %q, %q, %q", x.ID, v["t"], v["n"], v["a"])
	}
	r.attempt, r.n, r.kind, r.at = attempt, n, engine.Kind(v["k"]), time.UnixMilli(ms)
	if p := v["p"]; p != "" {
		r.payload = []byte(p)
	}
	return r, nil
}

// madeUp are the records of a task that has no stream of its own: what its
// claim and its result say.
func (f *facts) madeUp() []entry {
	reset := entry{offset: 1, attempt: 1, kind: engine.KindReset, at: f.claim.taken}
	switch {
	case f.over, f.doneSilent:
		if !f.claimed {
			reset.at = time.Time{}
		}
		return []entry{reset, {offset: 2, attempt: 1, n: 1, kind: engine.KindEnd, payload: f.result, at: timeOf(string(f.result), "")}}
	case f.claimed && f.claim.attempt > 0:
		return []entry{reset}
	}
	return nil
}

// finish gives what is there after an offset and not too old.
func (f *facts) finish(stream string, rs []entry, after uint64, most int) ([]engine.Record, bool, error) {
	var out []engine.Record
	ended := false
	oldest := time.Time{}
	if f.age > 0 {
		oldest = time.Now().Add(-f.age)
	}
	for _, r := range rs {
		if r.kind == engine.KindEnd {
			ended = true
		}
		lasting := r.kind == engine.KindReset || r.kind == engine.KindEnd
		if r.offset <= after || len(out) == most || !lasting && r.at.Before(oldest) {
			continue
		}
		c := engine.Cursor{Offset: r.offset, Attempt: r.attempt, N: r.n}
		out = append(out, engine.Record{Pos: c.Position(stream), Attempt: r.attempt, N: r.n, Kind: r.kind, Payload: r.payload, Time: r.at})
	}
	if len(out) == 0 && len(rs) == 0 && f.ended {
		ended = true // the reader has seen the end
	}
	return out, ended && len(out) < most, nil
}

// Tail implements engine.Streams.
func (e *Engine) Tail(ctx context.Context, stream string, after engine.Position) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		cur, err := after.Cursor(stream)
		if err != nil {
			yield(nil, err)
			return
		}
		var g gate
		deaf, err := e.hear(ctx, stream, &g)
		if err != nil {
			yield(nil, err)
			return
		}
		defer deaf()
		for {
			news := g.next()
			rs, ended, err := e.read(ctx, stream, cur.Offset, tailBatch, true)
			if len(rs) > 0 {
				if !yield(rs, nil) || rs[len(rs)-1].Kind == engine.KindEnd {
					return
				}
				if cur, err = rs[len(rs)-1].Pos.Cursor(stream); err == nil {
					continue
				}
			}
			if ended && err == nil {
				return
			}
			if err = e.calm(ctx, err, news); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// tailBatch is how many records a tail reads at once.
const tailBatch = 256

// Delete implements engine.Streams.
func (e *Engine) Delete(ctx context.Context, streams []string) error {
	for _, s := range streams {
		if err := e.remove(ctx, s, false); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a stream and, for a task, its result.
func (e *Engine) remove(ctx context.Context, id string, result bool) error {
	if e.closed() {
		return engine.ErrClosed
	}
	args := append(e.arguments(2), id, "0")
	if result {
		args[len(args)-1] = "1"
	}
	e.retains.drop(id)
	return e.wrong(e.run(ctx, forgetScript, args).Error())
}
