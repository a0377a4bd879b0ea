package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// group is one group, and what was sent to it. Its messages are numbered from 1
// on, each attempt to send one has a number of its own.
type group struct {
	name   string
	newest atomic.Int64 // the newest number that was acknowledged

	// Of the goroutine that publishes.
	next      int
	uncertain map[int]bool // not acknowledged: may be there, once
	slowest   time.Duration
}

// publish sends numbered messages at a pace until ctx ends. What is not
// acknowledged is tried again, as another message.
func (g *group) publish(ctx context.Context, b *balancer, pace time.Duration) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		start := time.Now()
		for try := 0; !g.send(client, b.order(), try); try++ {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
		g.slowest = max(g.slowest, time.Since(start))
	}
}

// send reports whether a message was acknowledged. Its own time bounds it: the
// last one is waited for.
func (g *group) send(client *http.Client, order []string, try int) bool {
	g.next++
	g.uncertain[g.next] = true
	body := strings.NewReader(fmt.Sprintf(`{"type":"m","n":%d}`, g.next))
	res, err := client.Post("http://"+order[try%len(order)]+"/groups/"+g.name, "application/json", body)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection can be used again
	if res.StatusCode != http.StatusAccepted {
		return false
	}
	delete(g.uncertain, g.next)
	g.newest.Store(int64(g.next))
	return true
}
