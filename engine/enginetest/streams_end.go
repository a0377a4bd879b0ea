package enginetest

import (
	"fmt"
	"sync"

	"github.com/rhubarb-go/rhubarb/engine"
)

func endIsEnd(c *T) {
	f := c.begin("s")
	c.end("s", f, "over")
	c.want("second end", c.Streams.End(c.soon(), "s", f, []byte("again"), 0), engine.ErrSuperseded)
	c.want("append after the end", c.Streams.Append(c.soon(), []engine.Append{data("s", f, "x")})[0], engine.ErrSuperseded)
	_, err := c.Streams.Begin(c.soon(), "s")
	c.want("begin after the end", err, engine.ErrEnded)
	c.stream("s", "reset 1.0 ", "end 1.1 over")
}

func endRace(c *T) {
	f := c.begin("s")
	var wg sync.WaitGroup
	errs := make([]error, 50)
	writing := make(chan struct{}, 4)
	for range cap(writing) { // they write until the end stops them, but no more than is kept
		wg.Go(func() {
			for n := 0; n < engine.DefaultRetainCount/8 && c.Streams.Append(c.soon(), []engine.Append{data("s", f, "x")})[0] == nil; n++ {
				if n == 0 {
					writing <- struct{}{}
				}
			}
		})
	}
	for range cap(writing) {
		<-writing
	}
	for i := range errs {
		wg.Go(func() {
			errs[i] = c.Streams.End(c.soon(), "s", f, fmt.Append(nil, i), 0)
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil && winner < 0 {
			winner = i
			continue
		}
		c.want(fmt.Sprint("ender ", i), err, engine.ErrSuperseded)
	}
	rs := c.records("s", "")
	last := rs[len(rs)-1]
	if last.Kind != engine.KindEnd || string(last.Payload) != fmt.Sprint(winner) || int(last.N) != len(rs)-1 {
		c.Errorf("the last record is %q, want the end by %d", lines(rs[len(rs)-1:]), winner)
	}
	for _, r := range rs[:len(rs)-1] {
		if r.Kind == engine.KindEnd {
			c.Errorf("there is another end: %s", r.Payload)
		}
	}
}
