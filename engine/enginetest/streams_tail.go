package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// follow tails a stream to its end and hands over what it saw.
func (c *T) follow(ctx context.Context, stream string, after engine.Position) <-chan []engine.Record {
	got := make(chan []engine.Record, 1)
	go func() {
		var all []engine.Record
		for rs, err := range c.Streams.Tail(ctx, stream, after) {
			if err != nil {
				c.Errorf("tail %q: %v after %d records", stream, err, len(all))
				break
			}
			if len(rs) == 0 {
				c.Errorf("tail %q: an empty batch", stream)
			}
			all = append(all, rs...)
		}
		got <- all
	}()
	return got
}

func tails(c *T) {
	f := c.begin("s")
	c.append(data("s", f, "a", "b"))
	from := c.records("s", "")[1].Pos
	all, rest := c.follow(c.soon(), "s", ""), c.follow(c.soon(), "s", from)
	c.append(data("s", f, "c"))
	c.append(data("s", f, "d"))
	f = c.begin("s")
	c.append(data("s", f, "e"))
	c.end("s", f, "over")
	want := []string{"reset 1.0 ", "data 1.1 a", "data 1.2 b", "data 1.3 c", "data 1.4 d", "reset 2.0 ", "data 2.1 e", "end 2.2 over"}
	if got := lines(<-all); !slices.Equal(got, want) {
		c.Errorf("tail from the start:\ngot  %q\nwant %q", got, want)
	}
	if got := lines(<-rest); !slices.Equal(got, want[2:]) {
		c.Errorf("tail from a position:\ngot  %q\nwant %q", got, want[2:])
	}
	if got := lines(<-c.follow(c.soon(), "s", "")); !slices.Equal(got, want) {
		c.Errorf("tail after the end:\ngot  %q\nwant %q", got, want)
	}
}

func tailFirst(c *T) {
	got := c.follow(c.soon(), "s", "")
	c.wait(c.quiet())
	f := c.begin("s")
	began := time.Now()
	c.append(data("s", f, "a"))
	c.end("s", f, "over")
	rs := <-got
	if took := time.Since(began); took > slack {
		c.Errorf("the tail was told after %v", took)
	}
	if want := []string{"reset 1.0 ", "data 1.1 a", "end 1.2 over"}; !slices.Equal(lines(rs), want) {
		c.Errorf("tailed %q, want %q", lines(rs), want)
	}
}

func tailAfterEnd(c *T) {
	f := c.begin("s")
	c.append(data("s", f, "a"))
	c.end("s", f, "over")
	rs := c.records("s", "")
	began := time.Now()
	for batch, err := range c.Streams.Tail(c.soon(), "s", rs[len(rs)-1].Pos) {
		c.Errorf("after the end: got %q, %v, want nothing", lines(batch), err)
	}
	if took := time.Since(began); took > slack {
		c.Errorf("the tail ended after %v, want at once", took)
	}
}

func tailEnds(c *T) {
	f := c.begin("s")
	c.append(data("s", f, "a"))
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	var cancelled time.Time
	var last error
	n := 0
	for rs, err := range c.Streams.Tail(ctx, "s", "") {
		last = err
		if n += len(rs); n == 2 {
			cancelled = time.Now()
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		c.Errorf("the tail ended with %v, want its context's error", last)
	}
	if took := time.Since(cancelled); took > slack {
		c.Errorf("the tail ended %v after its context", took)
	}
	for range c.Streams.Tail(c.soon(), "s", "") {
		break // a reader may just leave
	}
}

func tailWhileWriting(c *T) {
	const n, readers = 400, 12
	f := c.begin("s")
	var wg sync.WaitGroup
	start := make(chan struct{}, readers)
	for i := range readers {
		wg.Go(func() {
			for range i * n / readers / 2 {
				<-start // come later and later
			}
			rs := <-c.follow(c.soon(), "s", "")
			if len(rs) != n+2 {
				c.Errorf("reader %d: got %d records, want %d", i, len(rs), n+2)
				return
			}
			for j, r := range rs {
				if int(r.N) != j || j > 0 && j <= n && string(r.Payload) != fmt.Sprint(j) {
					c.Errorf("reader %d: record %d is %q", i, j, lines(rs[j:j+1]))
					return
				}
			}
		})
	}
	for i := 1; i <= n; {
		b := engine.Append{Stream: "s", Fence: f}
		for range 1 + i%3 {
			if i <= n {
				b.Records = append(b.Records, engine.Entry{Payload: fmt.Append(nil, i)})
				i++
			}
		}
		c.append(b)
		for range 2 * readers {
			select {
			case start <- struct{}{}:
			default:
			}
		}
	}
	close(start)
	c.end("s", f, "over")
	wg.Wait()
}

func tailMany(c *T) {
	const streams, each = 60, 10
	fences := make([]engine.Fence, streams)
	got := make([]<-chan []engine.Record, streams)
	name := func(i int) string { return fmt.Sprint("many-", i) }
	for i := range streams {
		if i%2 == 0 {
			got[i] = c.follow(c.soon(), name(i), "")
		}
		fences[i] = c.begin(name(i))
		if i%2 == 1 {
			got[i] = c.follow(c.soon(), name(i), "")
		}
	}
	for j := range each {
		var batch []engine.Append
		for i := range streams {
			batch = append(batch, data(name(i), fences[i], fmt.Sprint(i, "/", j)))
		}
		c.append(batch...)
	}
	for i := range streams {
		c.end(name(i), fences[i], "over")
	}
	for i := range streams {
		rs := <-got[i]
		if len(rs) != each+2 {
			c.Errorf("stream %d: got %q, want %d records", i, lines(rs), each+2)
			continue
		}
		for j := range each {
			if want := fmt.Sprint(i, "/", j); string(rs[j+1].Payload) != want {
				c.Errorf("stream %d: record %d is %q, want %q", i, j+1, rs[j+1].Payload, want)
			}
		}
	}
}

func tailSlow(c *T) {
	const n = 3000
	f := c.begin("s")
	payload := make([]byte, 500)
	seen := 0
	for rs, err := range c.Streams.Tail(c.soon(), "s", "") {
		if err != nil {
			c.Fatalf("tail: %v after %d records", err, seen)
		}
		for _, r := range rs {
			if int(r.N) != seen {
				c.Fatalf("got record %d, want %d", r.N, seen)
			}
			seen++
		}
		if seen > 1 {
			continue
		}
		for i := range n / 100 { // all while the reader does not read
			b := engine.Append{Stream: "s", Fence: f}
			for range 100 {
				b.Records = append(b.Records, engine.Entry{Payload: payload})
			}
			if i%10 == 9 {
				c.wait(time.Millisecond)
			}
			c.append(b)
		}
		c.end("s", f, "over")
	}
	if seen != n+2 {
		c.Errorf("tailed %d records, want %d", seen, n+2)
	}
}
