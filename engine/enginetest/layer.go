package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var layerTests = []test{
	{"a message reaches its channel", "a connection is addressed by name", "", channelSend},
	{"channels have names of their own", "or one connection reads another's messages", "", channelNames},
	{"a group message reaches every inbox once", "and there all channels of the group", "", groupSend},
	{"who left is not reached", "a closed page must not cost anything", "", groupLeave},
	{"a group lasts while one channel is in it", "the others still listen", "", groupCounts},
	{"messages of one sender come in order", "a chat reads from top to bottom", "", layerOrder},
	{"bodies are any bytes", "they are other people's encodings", "", layerBodies},
	{"who is late loses the oldest", "and the sender never waits", "", inboxBound},
	{"a message does not wait for ever", "nobody wants yesterday's news", "fake", inboxExpiry},
	{"a plain channel is a queue", "each message goes to one reader", "", plainQueue},
	{"a plain channel is bounded", "the sender hears of it", "", plainFull},
	{"a plain message expires", "and leaves room", "fake", plainExpiry},
	{"an idle pop is woken", "nothing polls", "", popWakes},
	{"presence is announced and read", "people see who is there", "", presence},
	{"presence ends with its lease", "the process of the others may have died", "", presenceEnds},
	{"names of the layer are checked", "they become names in other systems", "", layerNames},
	{"an inbox ends with its context and Close", "a server must be able to stop", "", inboxEnds},
	{"a closed engine has no layer", "callers tell it from an outage", "", layerClosed},
	{"processes share the layer", "that is what it is for", "reopen", layerShared},
	{"an inbox survives a restart of the store", "connections stay open meanwhile", "restart", layerRestart},
	{"an inbox survives a lost connection", "connections stay open meanwhile", "cut", layerCut},
}

// box is an inbox with one channel.
type box struct {
	engine.Inbox
	c    *T
	name string
}

func (c *T) box() *box {
	c.Helper()
	in, err := c.Layer.Attach(c.soon())
	if err != nil {
		c.Fatalf("attach: %v", err)
	}
	c.Cleanup(func() { in.Close() })
	b := &box{Inbox: in, c: c}
	b.name = b.channel()
	return b
}

func (b *box) channel() string {
	b.c.Helper()
	name, err := b.NewChannel("specific")
	if err != nil {
		b.c.Fatalf("new channel: %v", err)
	}
	return name
}

func (b *box) join(groups ...string) *box {
	b.c.Helper()
	for _, g := range groups {
		if err := b.Join(b.c.soon(), g, b.name); err != nil {
			b.c.Fatalf("join %s: %v", g, err)
		}
	}
	return b
}

// got waits for n messages and writes each as <group or channels>=<body>.
func (b *box) got(n int) []string {
	b.c.Helper()
	var out []string
	for ctx := b.c.soon(); len(out) < n; {
		ins, err := b.Receive(ctx)
		if err != nil {
			b.c.Fatalf("receive: %v after %q, want %d messages", err, out, n)
		}
		for _, in := range ins {
			if in.Lost {
				continue
			}
			to := in.Group
			if to == "" {
				to = strings.Join(in.Channels, ",")
			}
			out = append(out, to+"="+string(in.Body))
		}
	}
	return out
}

func (b *box) wants(want ...string) {
	b.c.Helper()
	if got := b.got(len(want)); !slices.Equal(got, want) {
		b.c.Errorf("received %q, want %q", got, want)
	}
}

// silent fails if anything comes for a while.
func (b *box) silent(why string) {
	b.c.Helper()
	ins, err := b.Receive(b.c.within(b.c.quiet()))
	if len(ins) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		b.c.Errorf("%s: received %d messages, %v", why, len(ins), err)
	}
}

func (c *T) send(to string, bodies ...string) {
	c.Helper()
	c.sent(c.Layer.Send, to, bodies)
}

func (c *T) groupSend(to string, bodies ...string) {
	c.Helper()
	c.sent(c.Layer.GroupSend, to, bodies)
}

func (c *T) sent(send func(context.Context, []engine.LayerMessage) []error, to string, bodies []string) {
	c.Helper()
	ms := make([]engine.LayerMessage, len(bodies))
	for i, b := range bodies {
		ms[i] = engine.LayerMessage{To: to, Body: []byte(b)}
	}
	for _, err := range c.errors(send(c.soon(), ms), len(ms)) {
		if err != nil {
			c.Fatalf("send to %s: %v", to, err)
		}
	}
}

func channelSend(c *T) {
	a, b := c.box(), c.box()
	second := a.channel()
	c.send(a.name, "one")
	c.send(second, "two")
	a.wants(a.name+"=one", second+"=two")
	b.silent("nothing was sent there")
	gone := "specific." + strings.Repeat("0", 32) + "!x"
	c.send(gone, "nobody reads this")
}

func channelNames(c *T) {
	a, b := c.box(), c.box()
	seen := map[string]bool{}
	for range 100 {
		for _, b := range []*box{a, b} {
			name := b.channel()
			if err := engine.CheckChannel(name); err != nil || seen[name] || engine.InboxOf(name) != engine.InboxOf(b.name) {
				c.Fatalf("channel %q: seen before %v, %v", name, seen[name], err)
			}
			seen[name] = true
		}
	}
	if engine.InboxOf(a.name) == engine.InboxOf(b.name) {
		c.Errorf("two inboxes are named %q", engine.InboxOf(a.name))
	}
	if _, err := a.NewChannel(strings.Repeat("x", 34)); !errors.Is(err, engine.ErrLimit) {
		c.Errorf("a prefix of 34 bytes: %v, want ErrLimit", err)
	}
	c.want("join with another's channel", a.Join(c.soon(), "g", b.name), engine.ErrNotFound)
}

func groupSend(c *T) {
	a, b, other := c.box().join("g"), c.box().join("g", "h"), c.box().join("other")
	if err := a.Join(c.soon(), "g", a.channel()); err != nil {
		c.Fatal(err)
	}
	a.join("g") // once more is once
	c.groupSend("g", "1", "2")
	c.groupSend("h", "3")
	c.groupSend("nobody", "4")
	a.wants("g=1", "g=2")
	b.wants("g=1", "g=2", "h=3")
	a.silent("everything came once")
	other.silent("it is in another group")
}

func groupLeave(c *T) {
	a, b, closed := c.box().join("g"), c.box().join("g"), c.box().join("g")
	c.want("leave", a.Leave(c.soon(), "g", a.name), nil)
	c.want("leave again", a.Leave(c.soon(), "g", a.name), nil)
	c.want("leave another", a.Leave(c.soon(), "unknown", a.name), nil)
	c.want("close", closed.Close(), nil)
	c.groupSend("g", "1")
	b.wants("g=1")
	a.silent("it left")
	a.join("g")
	c.groupSend("g", "2")
	a.wants("g=2")
}

func groupCounts(c *T) {
	a := c.box().join("g")
	second := a.channel()
	c.want("join", a.Join(c.soon(), "g", second), nil)
	c.want("leave", a.Leave(c.soon(), "g", a.name), nil)
	c.groupSend("g", "1")
	a.wants("g=1")
	c.want("leave", a.Leave(c.soon(), "g", second), nil)
	c.groupSend("g", "2")
	a.silent("both left")
}

func layerOrder(c *T) {
	a := c.box().join("g", "h")
	const n = 500
	var want []string
	for i := range n {
		g := []string{"g", "h"}[i%2]
		c.groupSend(g, fmt.Sprint(i))
		want = append(want, fmt.Sprint(g, "=", i))
	}
	if got := a.got(n); !slices.Equal(got, want) {
		c.Errorf("%d messages did not come in the order they were sent", n)
	}
}

func layerBodies(c *T) {
	a := c.box().join("g.-_9")
	for _, body := range []string{"", "\x00\xff\r\n", strings.Repeat("x", engine.MaxMessage)} {
		c.groupSend("g.-_9", body)
		c.send(a.name, body)
		got := a.got(2)
		slices.Sort(got)
		if want := []string{"g.-_9=" + body, a.name + "=" + body}; !slices.Equal(got, want) {
			c.Errorf("a body of %d bytes does not arrive", len(body))
		}
	}
	large := []engine.LayerMessage{{To: "g", Body: make([]byte, engine.MaxMessage+1)}}
	c.want("send too much", c.Layer.GroupSend(c.soon(), large)[0], engine.ErrLimit)
	large[0].To = a.name
	c.want("send too much", c.Layer.Send(c.soon(), large)[0], engine.ErrLimit)
}

func inboxBound(c *T) {
	a, pace := c.box().join("g"), c.box().join("g")
	const extra = 100
	for i := range engine.InboxCapacity + extra {
		c.groupSend("g", fmt.Sprint(i))
		if i%1000 == 999 {
			pace.got(1000) // the engine keeps up
		}
	}
	c.poll(patience, "the oldest to be dropped", func() bool { return a.Missed() >= extra })
	got := a.got(1)
	if last := fmt.Sprint("g=", engine.InboxCapacity+extra-1); len(got) > engine.InboxCapacity || got[len(got)-1] != last {
		c.Errorf("%d messages waited, the last is %s, want at most %d up to %s", len(got), got[len(got)-1], engine.InboxCapacity, last)
	}
}

func inboxExpiry(c *T) {
	a := c.box().join("g")
	c.groupSend("g", "old")
	c.wait(engine.LayerExpiry / 2)
	c.groupSend("g", "new")
	c.wait(engine.LayerExpiry / 2)
	a.wants("g=new")
	if a.Missed() != 1 {
		c.Errorf("%d messages were missed, want 1", a.Missed())
	}
}

func layerNames(c *T) {
	a := c.box()
	for _, bad := range []string{"", strings.Repeat("x", 100), "a b", "é", "a*", "a>", "a/b", "a\n", "a!b"} {
		c.want("join "+bad, a.Join(c.soon(), bad, a.name), engine.ErrLimit)
		c.want("leave "+bad, a.Leave(c.soon(), bad, a.name), engine.ErrLimit)
		c.want("group send "+bad, c.Layer.GroupSend(c.soon(), []engine.LayerMessage{{To: bad}})[0], engine.ErrLimit)
		c.want("announce in "+bad, c.Layer.Announce(c.soon(), bad, "o", nil, time.Minute), engine.ErrLimit)
		_, err := c.Layer.Present(c.soon(), bad)
		c.want("present in "+bad, err, engine.ErrLimit)
		if bad != "a!b" {
			c.want("send to "+bad, c.Layer.Send(c.soon(), []engine.LayerMessage{{To: bad}})[0], engine.ErrLimit)
		}
	}
	c.want("send to two halves", c.Layer.Send(c.soon(), []engine.LayerMessage{{To: "a!b!c"}})[0], engine.ErrLimit)
	long := strings.Repeat("x", 99)
	a.join(long)
	c.groupSend(long, "1")
	a.wants(long + "=1")
}

func inboxEnds(c *T) {
	a := c.box()
	ctx, cancel := context.WithCancel(c.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := a.Receive(ctx)
		ended <- err
	}()
	cancel()
	c.want("receive", <-ended, context.Canceled)
	go func() {
		_, err := a.Receive(c.soon())
		ended <- err
	}()
	c.wait(c.quiet() / 10)
	c.want("close", a.Close(), nil)
	c.want("close again", a.Close(), nil)
	c.want("receive", <-ended, engine.ErrClosed)
	c.want("join", a.Join(c.soon(), "g", a.name), engine.ErrClosed)
}

func layerClosed(c *T) {
	a := c.box()
	if err := c.Layer.Close(); err != nil {
		c.Fatalf("close: %v", err)
	}
	_, err := c.Layer.Attach(c.soon())
	c.want("attach", err, engine.ErrClosed)
	_, err = a.Receive(c.soon())
	c.want("receive", err, engine.ErrClosed)
	_, err = c.Layer.Pop(c.soon(), "p", 1)
	c.want("pop", err, engine.ErrClosed)
	_, err = c.Layer.Present(c.soon(), "g")
	c.want("present", err, engine.ErrClosed)
	c.want("join", a.Join(c.soon(), "g", a.name), engine.ErrClosed)
	c.want("send", c.Layer.Send(c.soon(), []engine.LayerMessage{{To: a.name}})[0], engine.ErrClosed)
	c.want("group send", c.Layer.GroupSend(c.soon(), []engine.LayerMessage{{To: "g"}})[0], engine.ErrClosed)
	c.want("announce", c.Layer.Announce(c.soon(), "g", "o", []byte("x"), time.Minute), engine.ErrClosed)
}

func layerShared(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	a, b := c.box().join("g"), other.box().join("g")
	c.groupSend("g", "1")
	other.groupSend("g", "2")
	for _, in := range []*box{a, b} {
		got := in.got(2)
		slices.Sort(got)
		if !slices.Equal(got, []string{"g=1", "g=2"}) {
			c.Errorf("received %q, want 1 and 2", got)
		}
	}
	c.send(b.name, "3")
	b.wants(b.name + "=3")
	c.announce("g", "a", "ann", time.Minute)
	if got := other.present("g"); got != "a=ann" {
		c.Errorf("present for the other process: %s", got)
	}
	other.send("p", "4")
	if got := c.pop("p", 1); got[0] != "4" {
		c.Errorf("popped %q", got)
	}
}

func layerRestart(c *T) {
	a := c.box().join("g")
	hears(c.on(c.engine.Restart(c.T, c.Set)), a)
}

func layerCut(c *T) {
	a := c.box().join("g")
	c.engine.Cut(c.T, c.Set)
	hears(c, a)
}

// hears waits until messages reach an inbox again.
func hears(c *T, a *box) {
	c.Helper()
	end := time.Now().Add(patience)
	for {
		c.Layer.GroupSend(c.soon(), []engine.LayerMessage{{To: "g", Body: []byte("again")}})
		if ins, err := a.Receive(c.within(100 * time.Millisecond)); err == nil && slices.ContainsFunc(ins, func(in engine.Incoming) bool { return !in.Lost }) {
			return
		}
		if time.Now().After(end) {
			c.Fatalf("after %v nothing arrives in an inbox that was joined before", patience)
		}
	}
}
