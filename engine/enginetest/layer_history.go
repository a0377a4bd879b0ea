package enginetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var historyTests = []test{
	{"what is kept is heard and read", "one send serves those here and those to come", "", historyBoth},
	{"history goes on after an offset", "a client comes back and gets what it missed", "", historyAfter},
	{"an offset that is gone is told", "silence would be a lie", "", historyGone},
	{"history keeps the newest", "a group must not grow for ever", "", historyBound},
	{"kept messages expire", "the room may forget", "", historyExpires},
	{"many keep at once in one order", "all clients see one conversation", "", historyRace},
	{"groups have histories of their own", "one room's past is no other's", "", historyApart},
	{"history is checked like the rest", "its bounds hold for everyone", "", historyChecks},
	{"processes share history", "a client comes back to another one", "reopen", historyShared},
	{"history survives a restart of the store", "it was acknowledged", "restart", historyRestart},
	{"keeping goes on through lost connections", "who publishes need not notice a deploy", "cut", historyThroughCuts},
	{"a lost connection is told to each group", "who follows then reads what it missed", "cut", historyCut},
}

func (c *T) keep(group string, bodies ...string) {
	c.Helper()
	c.keepFor(time.Hour, group, bodies...)
}

func (c *T) keepFor(age time.Duration, group string, bodies ...string) {
	c.Helper()
	ms := make([]engine.LayerMessage, len(bodies))
	for i, b := range bodies {
		ms[i] = engine.LayerMessage{To: group, Body: []byte(b)}
	}
	for _, err := range c.errors(c.Layer.GroupKeep(c.soon(), ms, age), len(ms)) {
		if err != nil {
			c.Fatalf("keep in %s: %v", group, err)
		}
	}
}

// history reads all of a group after an offset.
func (c *T) history(group string, after uint64) (all []engine.Kept, gone bool) {
	c.Helper()
	for first := true; ; first = false {
		ks, g, err := c.Layer.History(c.soon(), group, after, 100)
		if err != nil {
			c.Fatalf("history of %s after %d: %v", group, after, err)
		}
		if g && !first {
			c.Fatalf("history of %s after %d: gone, and was read a moment ago", group, after)
		}
		gone = gone || g
		if len(ks) == 0 {
			return all, gone
		}
		all = append(all, ks...)
		after = ks[len(ks)-1].Offset
	}
}

// remembers fails unless the group keeps these bodies after an offset.
func (c *T) remembers(group string, after uint64, wantGone bool, want ...string) []engine.Kept {
	c.Helper()
	ks, gone := c.history(group, after)
	var got []string
	for i, k := range ks {
		got = append(got, string(k.Body))
		if k.Offset == 0 || i > 0 && k.Offset <= ks[i-1].Offset {
			c.Errorf("offsets do not grow: %v", ks)
		}
	}
	if !slices.Equal(got, want) || gone != wantGone {
		c.Errorf("%s keeps %q after %d, gone %v; want %q, %v", group, got, after, gone, want, wantGone)
	}
	return ks
}

// live waits for n messages and returns them.
func (b *box) live(n int) (out []engine.Incoming) {
	b.c.Helper()
	for ctx := b.c.soon(); len(out) < n; {
		ins, err := b.Receive(ctx)
		if err != nil {
			b.c.Fatalf("receive: %v after %d messages, want %d", err, len(out), n)
		}
		for _, in := range ins {
			if !in.Lost {
				out = append(out, in)
			}
		}
	}
	return out
}

func historyBoth(c *T) {
	a := c.box().join("g")
	c.keep("g", "one", "two")
	c.groupSend("g", "passing")
	ks := c.remembers("g", 0, false, "one", "two")
	live := a.live(3)
	for i, in := range live[:2] {
		before := uint64(0)
		if i > 0 {
			before = ks[i-1].Offset
		}
		if in.Group != "g" || in.Offset != ks[i].Offset || in.Before != before || string(in.Body) != string(ks[i].Body) {
			c.Errorf("heard %+v, want %+v before which is %d", in, ks[i], before)
		}
	}
	if in := live[2]; string(in.Body) != "passing" || in.Offset != 0 {
		c.Errorf("heard %+v, want a message that is not kept", in)
	}
}

func historyAfter(c *T) {
	c.keep("g", "1", "2", "3")
	ks := c.remembers("g", 0, false, "1", "2", "3")
	c.remembers("g", ks[0].Offset, false, "2", "3")
	c.remembers("g", ks[2].Offset, false)
	few, _, err := c.Layer.History(c.soon(), "g", ks[0].Offset, 1)
	if err != nil || len(few) != 1 || string(few[0].Body) != "2" {
		c.Errorf("one message after the first: %v, %v", few, err)
	}
	c.keep("g", "4")
	c.remembers("g", ks[2].Offset, false, "4")
}

func historyGone(c *T) {
	c.remembers("g", 7, true)
	c.keep("g", "1")
	ks := c.remembers("g", 0, false, "1")
	c.remembers("g", ks[0].Offset+5, true, "1")
	c.remembers("other", ks[0].Offset, true)
}

func historyBound(c *T) {
	const more = 7
	bodies := make([]string, engine.HistoryCapacity+more)
	for i := range bodies {
		bodies[i] = fmt.Sprint(i)
	}
	c.keep("g", bodies[:1]...)
	first, _ := c.history("g", 0)
	c.keep("g", bodies[1:]...)
	c.remembers("g", 0, false, bodies[more:]...)
	c.remembers("g", first[0].Offset, true, bodies[more:]...)
}

func historyExpires(c *T) {
	c.keepFor(time.Second, "g", "short")
	c.keep("g", "long")
	c.remembers("g", 0, false, "short", "long")
	c.poll(patience, "a message kept for a second is gone", func() bool {
		ks, _ := c.history("g", 0)
		return len(ks) == 1
	})
	c.remembers("g", 0, false, "long")
}

func historyRace(c *T) {
	const senders, each = 8, 20
	a := c.box().join("g")
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				c.Layer.GroupKeep(c.soon(), []engine.LayerMessage{{To: "g", Body: fmt.Appendf(nil, "%d.%d", s, i)}}, time.Hour)
			}
		})
	}
	wg.Wait()
	ks, _ := c.history("g", 0)
	live := a.live(senders * each)
	if len(ks) != len(live) {
		c.Fatalf("%d are kept, %d were heard, want %d", len(ks), len(live), senders*each)
	}
	for i, in := range live {
		if in.Offset != ks[i].Offset || string(in.Body) != string(ks[i].Body) || i > 0 && in.Before != live[i-1].Offset {
			c.Fatalf("message %d was heard as %d %s after %d, and is kept as %d %s", i, in.Offset, in.Body, in.Before, ks[i].Offset, ks[i].Body)
		}
	}
}

func historyApart(c *T) {
	c.keep("a", "a1")
	c.keep("a.b", "b1")
	c.keep("a", "a2")
	ks := c.remembers("a", 0, false, "a1", "a2")
	c.remembers("a.b", 0, false, "b1")
	c.remembers("a", ks[0].Offset, false, "a2")
	c.remembers("nobody", 0, false)
}

func historyChecks(c *T) {
	for _, m := range []engine.LayerMessage{{To: ""}, {To: "no group"}, {To: strings.Repeat("g", 100)}, {To: "g", Body: make([]byte, engine.MaxMessage+1)}} {
		c.want(fmt.Sprintf("keep %d bytes in %.20q", len(m.Body), m.To), c.Layer.GroupKeep(c.soon(), []engine.LayerMessage{m}, time.Hour)[0], engine.ErrLimit)
	}
	_, _, err := c.Layer.History(c.soon(), "no group", 0, 1)
	c.want("history", err, engine.ErrLimit)
	if ks, gone, err := c.Layer.History(c.soon(), "g", 0, 0); len(ks) != 0 || gone || err != nil {
		c.Errorf("none of the history: %v, %v, %v", ks, gone, err)
	}
	if err := c.Layer.Close(); err != nil {
		c.Fatalf("close: %v", err)
	}
	_, _, err = c.Layer.History(c.soon(), "g", 0, 1)
	c.want("history of a closed engine", err, engine.ErrClosed)
	c.want("keep in a closed engine", c.Layer.GroupKeep(c.soon(), []engine.LayerMessage{{To: "g"}}, time.Hour)[0], engine.ErrClosed)
}

func historyShared(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	b := other.box().join("g")
	c.keep("g", "1")
	live := b.live(1)
	ks := other.remembers("g", 0, false, "1")
	if live[0].Offset != ks[0].Offset {
		c.Errorf("heard with offset %d, kept with %d", live[0].Offset, ks[0].Offset)
	}
	other.keep("g", "2")
	c.remembers("g", ks[0].Offset, false, "2")
}

func historyRestart(c *T) {
	c.keep("g", "1", "2")
	ks := c.remembers("g", 0, false, "1", "2")
	after := c.on(c.engine.Restart(c.T, c.Set))
	after.remembers("g", ks[0].Offset, false, "2")
	after.keep("g", "3")
	after.remembers("g", ks[0].Offset, false, "2", "3")
}

// historyThroughCuts cuts while messages are under way. Those whose answer is lost
// must be neither refused nor kept twice.
func historyThroughCuts(c *T) {
	c.keep("g", "first")
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for range 10 {
			c.engine.Cut(c.T, c.Set)
			<-time.After(30 * time.Millisecond) // nothing tells that messages are under way again
		}
	}()
	want := []string{"first"}
	for over := false; !over && len(want) < engine.HistoryCapacity-20; {
		some := make([]string, 20)
		for i := range some {
			some[i] = fmt.Sprint(len(want) + i)
		}
		c.keep("g", some...)
		want = append(want, some...)
		select {
		case <-cut:
			over = true
		default:
		}
	}
	<-cut
	ks, gone := c.history("g", 0)
	got := map[string]int{}
	for _, k := range ks {
		got[string(k.Body)]++
	}
	for _, w := range want {
		if got[w] != 1 {
			c.Errorf("message %s was acknowledged and is kept %d times", w, got[w])
		}
	}
	if len(ks) != len(want) || gone {
		c.Errorf("%d are kept, gone %v; %d were acknowledged", len(ks), gone, len(want))
	}
}

func historyCut(c *T) {
	a := c.box().join("g", "h")
	c.engine.Cut(c.T, c.Set)
	lost := map[string]bool{}
	for ctx := c.soon(); len(lost) < 2; {
		ins, err := a.Receive(ctx)
		if err != nil {
			c.Fatalf("receive: %v after %v, want a word about each group", err, lost)
		}
		for _, in := range ins {
			if in.Lost {
				lost[in.Group] = true
			}
		}
	}
}
