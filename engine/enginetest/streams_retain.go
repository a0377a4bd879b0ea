package enginetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var retentionTests = []test{
	{"a stream keeps a number of records", "memory and disk are bounded", "", retainCount},
	{"a stream keeps a number of bytes", "memory and disk are bounded", "", retainBytes},
	{"a stream keeps records for a time", "old output is of no use", "", retainAge},
	{"resets and the end stay", "they say what the rest is worth", "", retainControl},
	{"retention is the writer's to set", "an old one must not cut the new one's records", "", retainFenced},
	{"a tail over lost records goes on", "the numbers tell what is missing", "", retainTail},
}

// kept appends n numbered records under a retention and reads what is left.
func (c *T) kept(r engine.Retention, n int, payload string) []engine.Record {
	c.Helper()
	f := c.begin("s")
	c.Streams.Retain("s", f, r)
	for i := 1; i <= n; i++ {
		c.append(data("s", f, fmt.Sprintf("%03d%s", i, payload)))
	}
	rs := c.records("s", "")
	if len(rs) == 0 || rs[0].Kind != engine.KindReset {
		c.Fatalf("the reset is gone: %q", lines(rs))
	}
	for i, r := range rs[1:] {
		if want := uint64(n - len(rs) + 2 + i); r.N != want || !strings.HasPrefix(string(r.Payload), fmt.Sprintf("%03d", want)) {
			c.Fatalf("record %d of what is left is %d.%d, want number %d: the oldest go first", i, r.Attempt, r.N, want)
		}
	}
	return rs[1:]
}

func retainCount(c *T) {
	if n := len(c.kept(engine.Retention{Count: 10}, 35, "")); n != 10 {
		c.Errorf("%d records are kept, want 10", n)
	}
}

func retainBytes(c *T) {
	if n := len(c.kept(engine.Retention{Bytes: 10_000}, 30, strings.Repeat("x", 997))); n < 8 || n > 10 {
		c.Errorf("%d records of 1,000 bytes are kept, want 10 (or 8 at least, if an engine counts more than payload)", n)
	}
}

func retainAge(c *T) {
	f := c.begin("s")
	c.Streams.Retain("s", f, engine.Retention{Age: 2 * time.Second})
	c.append(data("s", f, "old"))
	c.wait(1200 * time.Millisecond)
	c.append(data("s", f, "new"))
	c.stream("s", "reset 1.0 ", "data 1.1 old", "data 1.2 new")
	c.poll(800*time.Millisecond+3*slack, "the old one is gone", func() bool {
		return slices.Equal(lines(c.records("s", "")), []string{"reset 1.0 ", "data 1.2 new"}) || len(c.records("s", "")) == 1
	})
	c.poll(2*time.Second+2*slack, "both are gone", func() bool { return len(c.records("s", "")) == 1 })
	c.append(data("s", f, "newer"))
	c.stream("s", "reset 1.0 ", "data 1.3 newer")
}

func retainControl(c *T) {
	for range 3 {
		f := c.begin("s")
		c.Streams.Retain("s", f, engine.Retention{Count: 2})
		for i := range 5 {
			c.append(data("s", f, fmt.Sprint(i)))
		}
	}
	f := c.begin("s")
	c.Streams.Retain("s", f, engine.Retention{Count: 2})
	c.append(data("s", f, "a", "b", "c"))
	c.end("s", f, "over")
	c.stream("s", "reset 1.0 ", "reset 2.0 ", "reset 3.0 ", "reset 4.0 ", "data 4.2 b", "data 4.3 c", "end 4.4 over")
}

func retainFenced(c *T) {
	old := c.begin("s")
	c.Streams.Retain("s", old, engine.Retention{Count: 2})
	f := c.begin("s")
	c.Streams.Retain("s", old, engine.Retention{Count: 1})
	c.Streams.Retain("unknown", f, engine.Retention{Count: 1})
	c.append(data("s", f, "a", "b", "c", "d", "e"))
	c.stream("s", "reset 1.0 ", "reset 2.0 ", "data 2.1 a", "data 2.2 b", "data 2.3 c", "data 2.4 d", "data 2.5 e")
}

func retainTail(c *T) {
	f := c.begin("s")
	c.Streams.Retain("s", f, engine.Retention{Count: 5})
	c.append(data("s", f, "first"))
	from := c.records("s", "")[1].Pos
	for i := range 30 {
		c.append(data("s", f, fmt.Sprint(i)))
	}
	got := c.follow(c.soon(), "s", from)
	c.end("s", f, "over")
	rs := <-got
	if len(rs) < 2 || rs[0].N == 2 || rs[len(rs)-1].Kind != engine.KindEnd {
		c.Fatalf("tailed %q, want the last records and the end", lines(rs))
	}
	for i, r := range rs[1:] {
		if r.N != rs[i].N+1 {
			c.Errorf("tailed %q: numbers must go on after the gap", lines(rs))
		}
	}
}
