package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// A rolling restart of two servers on one embedded engine: no client misses a
// message or gets one twice, and all are back within ten seconds.
func TestADeployNobodyNotices(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v, err := rehearse(ctx, options{
		engine: "embedded", clients: 300, groups: 4, rate: 40, rounds: 1,
		calm: time.Second, away: time.Second, grace: 6 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	var report bytes.Buffer
	v.print(&report)
	t.Log(report.String())
	for _, what := range v.broken {
		t.Error(what)
	}
	if len(v.away) < 300 || v.sent == 0 {
		t.Errorf("%d connections were lost and %d messages sent, want every client to have noticed something", len(v.away), v.sent)
	}
}

func TestWhatAVerdictNotices(t *testing.T) {
	start := time.Now()
	in := func(d time.Duration) loss { return loss{lost: start, attached: start.Add(d), caught: start.Add(d)} }
	for _, c := range []struct {
		name, want string
		client     *client
	}{
		{"nothing", "", &client{got: []int32{1, 2, 4}, losses: []loss{in(promised)}}},
		{"one that was not acknowledged is there for some", "different from number 2 on", &client{got: []int32{1, 2, 3, 4}}},
		{"a message is missed", "got 2 messages, others 3", &client{got: []int32{1, 4}}},
		{"a message comes twice", "message 2 was delivered 2 times", &client{got: []int32{1, 2, 2, 4}}},
		{"messages change places", "different from number 1 on", &client{got: []int32{1, 4, 2}}},
		{"a client is late", "was back after 10.001s", &client{got: []int32{1, 2, 4}, losses: []loss{in(promised + time.Millisecond)}}},
		{"a client stays away", "never came back", &client{got: []int32{1, 2, 4}, losses: []loss{{lost: start}}}},
		{"a client is told a gap", "was told a gap", &client{got: []int32{1, 2, 4}, broken: []string{"was told a gap"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &group{name: "g0", next: 4, uncertain: map[int]bool{3: true}}
			other := &client{group: g, wire: webSocket{}, got: []int32{1, 2, 4}}
			c.client.group, c.client.wire = g, &eventSource{}
			r := &rehearsal{servers: [2]*server{{}, {}}, groups: []*group{g}, clients: []*client{other, c.client}}
			v := r.judge(time.Second, true)
			if len(v.broken) == 0 && c.want == "" {
				return
			}
			if c.want == "" || !slices.ContainsFunc(v.broken, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("got %q, want %q", v.broken, c.want)
			}
		})
	}
}
