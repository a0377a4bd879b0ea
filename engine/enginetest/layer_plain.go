package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// pop pops n messages.
func (c *T) pop(channel string, n int) []string {
	c.Helper()
	var out []string
	for len(out) < n {
		ms, err := c.Layer.Pop(c.soon(), channel, n-len(out))
		if err != nil || len(ms) > n-len(out) {
			c.Fatalf("pop: %d messages, %v after %q", len(ms), err, out)
		}
		for _, m := range ms {
			if m.To != channel {
				c.Errorf("popped from %s: a message for %s", channel, m.To)
			}
			out = append(out, string(m.Body))
		}
	}
	return out
}

func plainQueue(c *T) {
	c.send("thumbnails", "1", "2", "3")
	c.send("other", "4")
	if got := c.pop("thumbnails", 2); !slices.Equal(got, []string{"1", "2"}) {
		c.Errorf("popped %q, want 1 and 2", got)
	}
	if got := c.pop("thumbnails", 1); got[0] != "3" {
		c.Errorf("popped %q, want 3", got)
	}
	if ms, err := c.Layer.Pop(c.within(c.quiet()), "thumbnails", 1); len(ms) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		c.Errorf("popped %d messages, %v, where all are taken", len(ms), err)
	}
	_, err := c.Layer.Pop(c.soon(), c.box().name, 1)
	c.want("pop an inbox's channel", err, engine.ErrNotFound)
}

func plainFull(c *T) {
	for i := range engine.LayerCapacity {
		c.send("p", fmt.Sprint(i))
	}
	full := []engine.LayerMessage{{To: "p"}, {To: "q"}}
	errs := c.Layer.Send(c.soon(), full)
	c.want("send to a full channel", errs[0], engine.ErrFull)
	c.want("send to another", errs[1], nil)
	c.pop("p", 1)
	c.poll(patience, "there is room again", func() bool { return c.Layer.Send(c.soon(), full[:1])[0] == nil })
}

func plainExpiry(c *T) {
	c.send("p", "old")
	c.wait(engine.LayerExpiry / 2)
	c.send("p", "new")
	c.wait(engine.LayerExpiry/2 + time.Second)
	if got := c.pop("p", 1); got[0] != "new" {
		c.Errorf("popped %q, want the new one", got)
	}
}

func popWakes(c *T) {
	got := make(chan string, 2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			ms, err := c.Layer.Pop(c.soon(), "p", 1)
			if err != nil || len(ms) != 1 {
				c.Errorf("pop: %d messages, %v", len(ms), err)
				return
			}
			got <- string(ms[0].Body)
		})
	}
	c.wait(c.quiet() / 10)
	c.send("p", "1", "2")
	wg.Wait()
	if a, b := <-got, <-got; a == b {
		c.Errorf("%s was popped twice", a)
	}
}

func (c *T) announce(group, owner, members string, lease time.Duration) {
	c.Helper()
	var m []byte
	if members != "" {
		m = []byte(members)
	}
	if err := c.Layer.Announce(c.soon(), group, owner, m, lease); err != nil {
		c.Fatalf("announce %s in %s: %v", owner, group, err)
	}
}

func (c *T) present(group string) string {
	c.Helper()
	m, err := c.Layer.Present(c.soon(), group)
	if err != nil {
		c.Fatalf("present in %s: %v", group, err)
	}
	var out []string
	for owner, members := range m {
		out = append(out, owner+"="+string(members))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func presence(c *T) {
	c.announce("g", "a", "ann", time.Minute)
	c.announce("g", "b!.*>", "bob", time.Minute)
	c.announce("g.x", "a", "eve", time.Minute)
	for _, step := range []struct{ members, want string }{
		{"ann,amy", "a=ann,amy b!.*>=bob"},
		{"", "b!.*>=bob"},
		{"ann", "a=ann b!.*>=bob"},
	} {
		c.announce("g", "a", step.members, time.Minute)
		if got := c.present("g"); got != step.want {
			c.Errorf("present after %q: %s, want %s", step.members, got, step.want)
		}
	}
	if got := c.present("nobody"); got != "" {
		c.Errorf("present where nobody is: %s", got)
	}
}

func presenceEnds(c *T) {
	c.announce("g", "a", "ann", time.Second)
	c.announce("g", "b", "bob", time.Minute)
	c.poll(time.Second+2*slack, "the lease is over", func() bool { return c.present("g") == "b=bob" })
}
