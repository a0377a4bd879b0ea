package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var streamsTests = []test{
	{"a stream is what was written", "attempt, number, kind and payload, in order", "", written},
	{"an unknown stream is empty", "a reader may come first", "", unknownStream},
	{"a new attempt voids the old writer", "the dead must not write", "", beginFences},
	{"an end is the end", "exactly one, and nothing after it", "", endIsEnd},
	{"one of many enders wins", "exactly one end, whoever races", "", endRace},
	{"only a writer's kinds are written", "reset, end and gap are the engine's", "", writerKinds},
	{"a batch for many streams is answered one by one", "a stale one must not stop the others", "", appendBatch},
	{"a read goes on from any position", "a reader resumes where it was", "", readFromAny},
	{"positions sort and fit anywhere", "they go into headers, addresses and file names", "", positionsFit},
	{"a foreign position is refused", "better than a wrong place", "", foreignPositions},
	{"any name and any bytes", "streams bear the ids of tasks", "", oddStreams},
	{"limits of records are exact", "what one engine keeps every engine keeps", "", recordLimits},
	{"a tail sees the present and what comes", "in order, each once, to the end", "", tails},
	{"a tail may come before the stream", "a browser may be faster than the worker", "", tailFirst},
	{"a tail after the end ends", "a browser reconnects with what it saw last", "", tailAfterEnd},
	{"a tail ends with its context", "readers go away", "", tailEnds},
	{"tails lose nothing while writers write", "whenever they come", "", tailWhileWriting},
	{"many streams are tailed at once", "every page has one", "", tailMany},
	{"a slow tail reads from the store", "memory is bounded and nothing is dropped", "", tailSlow},
	{"overlapping appends keep their order", "a writer does not wait for each", "", appendOrder},
	{"a deleted stream is gone", "and its name is free", "", deletesStream},
	{"a stream is kept for its time after the end", "and not for ever", "", streamExpires},
	{"nothing in, nothing out", "callers need no special case", "", noStreams},
	{"a closed engine says so to readers", "they must not hang", "", closedStreams},
	{"streams and fences survive a kill", "tokens are data, and the dead stay dead", "restart", streamsSurvive},
	{"a tail goes on after a kill", "with nothing lost and nothing twice", "restart", tailOverKill},
	{"a tail goes on after a cut", "with nothing lost and nothing twice", "cut", tailOverCut},
	{"a tail sees what another process writes", "the worker is elsewhere", "reopen", tailElsewhere},
	{"streams behave as the model does", "whatever is done in whatever order", "", streamsModel},
}

func (c *T) end(stream string, f engine.Fence, payload string) {
	c.Helper()
	if err := c.Streams.End(c.soon(), stream, f, []byte(payload), 0); err != nil {
		c.Fatalf("end stream %q: %v", stream, err)
	}
}

func written(c *T) {
	f := c.begin("s")
	c.append(data("s", f, "a", ""), engine.Append{Stream: "s", Fence: f, Records: []engine.Entry{
		{Kind: engine.KindProgress, Payload: []byte("p")}, {Kind: engine.KindState, Payload: []byte("s")}, {Kind: engine.KindData, Payload: []byte("b")},
	}})
	c.stream("s", "reset 1.0 ", "data 1.1 a", "data 1.2 ", "progress 1.3 p", "state 1.4 s", "data 1.5 b")
	g := c.begin("s")
	c.append(data("s", g, "again"))
	c.end("s", g, "over")
	c.stream("s", "reset 1.0 ", "data 1.1 a", "data 1.2 ", "progress 1.3 p", "state 1.4 s", "data 1.5 b",
		"reset 2.0 ", "data 2.1 again", "end 2.2 over")
	for _, r := range c.records("s", "") {
		if age := time.Since(r.Time); age < -slack || age > patience {
			c.Errorf("record %d.%d was written %v ago", r.Attempt, r.N, age)
		}
	}
}

func unknownStream(c *T) {
	if rs, err := c.Streams.Read(c.soon(), "s", "", 10); err != nil || len(rs) != 0 {
		c.Errorf("read: got %d records, %v", len(rs), err)
	}
	c.want("append", c.Streams.Append(c.soon(), []engine.Append{data("s", 1, "x")})[0], engine.ErrSuperseded)
	c.want("append without a fence", c.Streams.Append(c.soon(), []engine.Append{data("s", 0, "x")})[0], engine.ErrSuperseded)
	c.want("end", c.Streams.End(c.soon(), "s", 1, nil, 0), engine.ErrSuperseded)
	c.stream("s")
}

func beginFences(c *T) {
	old := c.begin("s")
	c.append(data("s", old, "a"))
	other := c.begin("other")
	now := c.begin("s")
	if now <= old {
		c.Errorf("fence went from %d to %d, want it to grow", old, now)
	}
	for what, f := range map[string]engine.Fence{"an old": old, "another stream's": other, "a later": now + 100, "no": 0} {
		if f == now {
			continue // numbers of two streams may be alike
		}
		c.want("append with "+what+" fence", c.Streams.Append(c.soon(), []engine.Append{data("s", f, "x")})[0], engine.ErrSuperseded)
		c.want("end with "+what+" fence", c.Streams.End(c.soon(), "s", f, nil, 0), engine.ErrSuperseded)
	}
	c.append(data("s", now, "b"))
	c.stream("s", "reset 1.0 ", "data 1.1 a", "reset 2.0 ", "data 2.1 b")
}

func writerKinds(c *T) {
	f := c.begin("s")
	for _, kind := range []engine.Kind{engine.KindReset, engine.KindEnd, engine.KindGap, "other"} {
		b := data("s", f, "good", "bad")
		b.Records[1].Kind = kind
		if err := c.Streams.Append(c.soon(), []engine.Append{b})[0]; err == nil {
			c.Errorf("a record of kind %q was accepted", kind)
		}
	}
	if n := len(c.records("s", "")); n != 1 {
		c.Errorf("refused batches left %d records, want the reset alone", n)
	}
}

func appendBatch(c *T) {
	a, b, ended := c.begin("a"), c.begin("b"), c.begin("ended")
	c.end("ended", ended, "")
	stale := a
	a = c.begin("a")
	big := data("b", b, "x", string(make([]byte, engine.MaxRecord+1)))
	errs := c.errors(c.Streams.Append(c.soon(), []engine.Append{
		data("a", a, "1"), data("a", stale, "x"), data("ended", ended, "x"), big, data("b", b), data("b", b, "2", "3"), data("a", a, "4"),
	}), 7)
	for i, want := range []error{nil, engine.ErrSuperseded, engine.ErrSuperseded, engine.ErrLimit, nil, nil, nil} {
		c.want(fmt.Sprint("batch ", i), errs[i], want)
	}
	c.stream("a", "reset 1.0 ", "reset 2.0 ", "data 2.1 1", "data 2.2 4")
	c.stream("b", "reset 1.0 ", "data 1.1 2", "data 1.2 3")
}

func readFromAny(c *T) {
	noise := c.begin("noise")
	f := c.begin("s")
	for i := range 40 {
		c.append(data("s", f, fmt.Sprint(i)), data("noise", noise, "x"))
	}
	f = c.begin("s")
	c.append(data("s", f, "again"))
	c.end("s", f, "over")
	all := c.records("s", "")
	if len(all) != 44 {
		c.Fatalf("got %d records, want 44", len(all))
	}
	for i, r := range all {
		for _, most := range []int{1, 7, 100} {
			rs, err := c.Streams.Read(c.soon(), "s", r.Pos, most)
			want := all[i+1 : min(i+1+most, len(all))]
			if err != nil || !slices.Equal(lines(rs), lines(want)) {
				c.Fatalf("read %d after record %d: got %q, %v, want %q", most, i, lines(rs), err, lines(want))
			}
		}
	}
}

func positionsFit(c *T) {
	f := c.begin("s")
	for range 5 {
		c.append(data("s", f, "a", "b", "c"))
	}
	f = c.begin("s")
	c.append(data("s", f, "a"))
	c.end("s", f, "")
	var positions []string
	for _, r := range c.records("s", "") {
		positions = append(positions, string(r.Pos))
		if len(r.Pos) > 128 || !regexp.MustCompile(`^[A-Za-z0-9._~-]+$`).MatchString(string(r.Pos)) {
			c.Errorf("position %q does not fit", r.Pos)
		}
		if cur, err := r.Pos.Cursor("s"); err != nil || cur.Attempt != r.Attempt || cur.N != r.N {
			c.Errorf("position %q: got %+v, %v, want attempt %d, n %d", r.Pos, cur, err, r.Attempt, r.N)
		}
	}
	if !slices.IsSorted(positions) || len(slices.Compact(slices.Clone(positions))) != len(positions) {
		c.Errorf("positions do not grow: %q", positions)
	}
}

func foreignPositions(c *T) {
	f, g := c.begin("s"), c.begin("other")
	c.append(data("s", f, "a"), data("other", g, "b"))
	for _, pos := range []engine.Position{
		c.records("other", "")[1].Pos, "0", "garbage", "-1", "ü", "0-0-0-0", engine.Position(strings.Repeat("f", 200)), c.records("s", "")[1].Pos + "-",
	} {
		_, err := c.Streams.Read(c.soon(), "s", pos, 10)
		c.want(fmt.Sprintf("read after %q", pos), err, engine.ErrPosition)
		last := error(nil)
		for _, err := range c.Streams.Tail(c.soon(), "s", pos) {
			last = err
		}
		c.want(fmt.Sprintf("tail after %q", pos), last, engine.ErrPosition)
	}
}

func oddStreams(c *T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	fences := map[string]engine.Fence{}
	for _, name := range oddities {
		fences[name] = c.begin(name)
	}
	for _, name := range oddities {
		c.append(data(name, fences[name], name+string(every)))
		c.end(name, fences[name], name)
	}
	for _, name := range oddities {
		c.stream(name, "reset 1.0 ", "data 1.1 "+name+string(every), "end 1.2 "+name)
	}
}

func recordLimits(c *T) {
	name := strings.Repeat("é", engine.MaxID/2) + "e"
	f := c.begin(name)
	payload := bytes.Repeat([]byte("r"), engine.MaxRecord)
	c.append(data(name, f, string(payload), "small", string(payload)))
	c.want("record too large", c.Streams.Append(c.soon(), []engine.Append{data(name, f, string(payload)+"x")})[0], engine.ErrLimit)
	c.want("end too large", c.Streams.End(c.soon(), name, f, append(payload, 'x'), 0), engine.ErrLimit)
	if err := c.Streams.End(c.soon(), name, f, payload, 0); err != nil {
		c.Errorf("the largest end: %v", err)
	}
	var sizes []int
	for _, r := range c.records(name, "") {
		sizes = append(sizes, len(r.Payload))
	}
	if want := []int{0, len(payload), 5, len(payload), len(payload)}; !slices.Equal(sizes, want) {
		c.Errorf("payloads have %d bytes, want %d", sizes, want)
	}
	_, err := c.Streams.Begin(c.soon(), name+"x")
	c.want("name too long", err, engine.ErrLimit)
	_, err = c.Streams.Begin(c.soon(), "")
	c.want("no name", err, engine.ErrLimit)
}

func deletesStream(c *T) {
	f, g := c.begin("s"), c.begin("kept")
	c.append(data("s", f, "a"), data("kept", g, "b"))
	if err := c.Streams.Delete(c.soon(), []string{"s", "unknown"}); err != nil {
		c.Fatal(err)
	}
	c.stream("s")
	c.want("append after that", c.Streams.Append(c.soon(), []engine.Append{data("s", f, "x")})[0], engine.ErrSuperseded)
	c.stream("kept", "reset 1.0 ", "data 1.1 b")
	f = c.begin("s")
	c.append(data("s", f, "new"))
	if rs := c.records("s", ""); len(rs) != 2 || string(rs[1].Payload) != "new" {
		c.Errorf("the name used again: got %q, want a reset and new", lines(rs))
	}
}

func streamExpires(c *T) {
	f, g := c.begin("s"), c.begin("long")
	c.append(data("s", f, "a"), data("long", g, "b"))
	for name, fence := range map[string]engine.Fence{"s": f, "long": g} {
		keep := time.Second
		if name == "long" {
			keep = time.Hour
		}
		if err := c.Streams.End(c.soon(), name, fence, nil, keep); err != nil {
			c.Fatal(err)
		}
	}
	c.wait(700 * time.Millisecond)
	c.stream("s", "reset 1.0 ", "data 1.1 a", "end 1.2 ")
	c.poll(300*time.Millisecond+2*slack, "the stream is gone", func() bool { return len(c.records("s", "")) == 0 })
	c.stream("long", "reset 1.0 ", "data 1.1 b", "end 1.2 ")
}

func noStreams(c *T) {
	f := c.begin("s")
	if n := len(c.Streams.Append(c.soon(), nil)); n != 0 {
		c.Errorf("an empty append gave %d answers", n)
	}
	c.append(data("s", f))
	if err := c.Streams.Delete(c.soon(), nil); err != nil {
		c.Error(err)
	}
	if rs, err := c.Streams.Read(c.soon(), "s", "", 0); err != nil || len(rs) != 0 {
		c.Errorf("a read of none gave %d records, %v", len(rs), err)
	}
	c.stream("s", "reset 1.0 ")
}

func appendOrder(c *T) {
	const writers, each = 8, 25
	f := c.begin("s")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				b := data("s", f, fmt.Sprint(w, " ", i, " a"), fmt.Sprint(w, " ", i, " b"))
				if err := c.Streams.Append(c.soon(), []engine.Append{b})[0]; err != nil {
					c.Errorf("append %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	rs := c.records("s", "")
	if len(rs) != 2*writers*each+1 {
		c.Fatalf("got %d records, want %d", len(rs), 2*writers*each+1)
	}
	next := make([]int, writers)
	for i := 1; i < len(rs); i += 2 {
		var w, n int
		if _, err := fmt.Sscan(string(rs[i].Payload), &w, &n); err != nil {
			c.Fatalf("record %d is %q", i, rs[i].Payload)
		}
		if want := fmt.Sprint(w, " ", next[w], " b"); string(rs[i+1].Payload) != want || n != next[w] || int(rs[i].N) != i {
			c.Fatalf("records %d and %d are %q: want batch %d of writer %d", i, i+1, lines(rs[i:i+2]), next[w], w)
		}
		next[w]++
	}
}

func closedStreams(c *T) {
	f := c.begin("s")
	ended := make(chan error, 2)
	go func() {
		var last error
		for _, err := range c.Streams.Tail(c.soon(), "s", "") {
			last = err
		}
		ended <- last
	}()
	go func() {
		_, err := c.watched(c.soon(), "s")
		ended <- err
	}()
	c.wait(c.quiet())
	closer, ok := c.Streams.(interface{ Close() error })
	if !ok {
		c.Fatal("streams cannot be closed")
	}
	c.want("close", closer.Close(), nil)
	c.want("the tail or watch", <-ended, engine.ErrClosed)
	c.want("the tail or watch", <-ended, engine.ErrClosed)
	ctx := c.soon()
	_, err := c.Streams.Begin(ctx, "s")
	c.want("begin", err, engine.ErrClosed)
	c.want("append", c.Streams.Append(ctx, []engine.Append{data("s", f, "x")})[0], engine.ErrClosed)
	c.want("end", c.Streams.End(ctx, "s", f, nil, 0), engine.ErrClosed)
	_, err = c.Streams.Read(ctx, "s", "", 1)
	c.want("read", err, engine.ErrClosed)
	c.want("delete", c.Streams.Delete(ctx, []string{"s"}), engine.ErrClosed)
	c.Streams.Retain("s", f, engine.Retention{})
	if c.Results == nil {
		return
	}
	_, err = c.Results.Get(ctx, []string{"a"})
	c.want("get", err, engine.ErrClosed)
	c.want("put", c.Results.Put(ctx, []engine.StatePut{put("a", engine.Progress, "", 1)})[0], engine.ErrClosed)
	c.want("finish", c.Results.Finish(ctx, []engine.StatePut{put("a", engine.Success, "", 0)})[0], engine.ErrClosed)
	c.want("forget", c.Results.Forget(ctx, []string{"a"}), engine.ErrClosed)
}

func streamsSurvive(c *T) {
	old := c.begin("s")
	f := c.begin("s")
	for i := range 50 {
		c.append(data("s", f, fmt.Sprint(i)))
	}
	e := c.begin("ended")
	c.end("ended", e, "over")
	before := c.records("s", "")
	c = c.on(c.engine.Restart(c.T, c.Set))
	if after := c.records("s", ""); !slices.Equal(lines(after), lines(before)) {
		c.Errorf("after the kill:\ngot  %q\nwant %q", lines(after), lines(before))
	}
	if rest := c.records("s", before[20].Pos); !slices.Equal(lines(rest), lines(before[21:])) {
		c.Errorf("after the kill, from a position: got %q, want %q", lines(rest), lines(before[21:]))
	}
	c.want("append by the old writer", c.Streams.Append(c.soon(), []engine.Append{data("s", old, "x")})[0], engine.ErrSuperseded)
	c.append(data("s", f, "on"))
	c.want("second end", c.Streams.End(c.soon(), "ended", e, nil, 0), engine.ErrSuperseded)
	_, err := c.Streams.Begin(c.soon(), "ended")
	c.want("begin of what has ended", err, engine.ErrEnded)
	if g := c.begin("s"); g <= f {
		c.Errorf("fence went from %d to %d", f, g)
	}
	rs := c.records("s", before[len(before)-1].Pos)
	if want := []string{"data 2.51 on", "reset 3.0 "}; !slices.Equal(lines(rs), want) {
		c.Errorf("after the kill: got %q, want %q", lines(rs), want)
	}
}

// keepOn appends until it is accepted, as a writer does that may not lose
// anything, and returns how often it had to.
func (c *T) keepOn(s engine.Streams, b engine.Append) {
	c.Helper()
	c.poll(patience, "the append is accepted", func() bool {
		err := s.Append(c.soon(), []engine.Append{b})[0]
		if errors.Is(err, engine.ErrSuperseded) {
			c.Fatalf("append: %v", err)
		}
		return err == nil
	})
}

func tailOverKill(c *T) {
	f := c.begin("s")
	c.append(data("s", f, "before"))
	after := c.on(c.engine.Restart(c.T, c.Set))
	got := after.follow(after.soon(), "s", "")
	after.keepOn(after.Streams, data("s", f, "after"))
	after.end("s", f, "over")
	if rs := <-got; !slices.Equal(lines(rs), []string{"reset 1.0 ", "data 1.1 before", "data 1.2 after", "end 1.3 over"}) {
		c.Errorf("tailed %q", lines(rs))
	}
}

func tailOverCut(c *T) {
	f := c.begin("s")
	got := c.follow(c.within(2*patience), "s", "")
	for i := range 60 {
		if i%20 == 10 {
			c.engine.Cut(c.T, c.Set)
		}
		c.keepOn(c.Streams, data("s", f, fmt.Sprint(i)))
	}
	c.poll(patience, "the end is accepted", func() bool {
		err := c.Streams.End(c.soon(), "s", f, []byte("over"), 0)
		return err == nil || errors.Is(err, engine.ErrSuperseded)
	})
	tailed := <-got
	if stored := c.records("s", ""); !slices.Equal(lines(tailed), lines(stored)) {
		c.Errorf("tailed:\ngot  %q\nwant %q", lines(tailed), lines(stored))
	}
}

func tailElsewhere(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	ctx, cancel := context.WithCancel(c.soon())
	defer cancel()
	got := other.follow(ctx, "s", "")
	f := c.begin("s")
	var want []string
	for i := range 100 {
		c.append(data("s", f, fmt.Sprint(i)))
		want = append(want, fmt.Sprintf("data 1.%d %d", i+1, i))
	}
	c.end("s", f, "over")
	want = append(append([]string{"reset 1.0 "}, want...), "end 1.101 over")
	if rs := <-got; !slices.Equal(lines(rs), want) {
		c.Errorf("tailed:\ngot  %q\nwant %q", lines(rs), want)
	}
}
