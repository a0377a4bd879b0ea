package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// verdict is what a run showed.
type verdict struct {
	r      *rehearsal
	broken []string // promises

	took          time.Duration
	sent          int // acknowledged
	uncertain     int // not acknowledged
	stored        int // of those, are there nevertheless
	delivered     int
	away, behind  []time.Duration // until attached, until caught up
	refused       int
	resume, reads float64
	slowest       time.Duration
}

// judge holds what happened against what is promised.
func (r *rehearsal) judge(took time.Duration, settled bool) *verdict {
	v := &verdict{r: r, took: took}
	if !settled {
		v.breaks("not every client got the last message")
	}
	for _, o := range r.rollouts {
		v.rollout(o)
	}
	for _, g := range r.groups {
		v.sent += g.next - len(g.uncertain)
		v.uncertain += len(g.uncertain)
		v.slowest = max(v.slowest, g.slowest)
		v.group(g)
	}
	for i, c := range r.clients {
		v.client(i, c)
	}
	for _, s := range r.servers {
		v.reads += s.usage.reads
		v.resume += s.usage.resume
	}
	slices.Sort(v.away)
	slices.Sort(v.behind)
	return v
}

func (v *verdict) breaks(format string, args ...any) {
	v.broken = append(v.broken, fmt.Sprintf(format, args...))
}

func (v *verdict) rollout(o rollout) {
	var exit *exec.ExitError
	switch {
	case errors.As(o.err, &exit):
		v.breaks("server %s ended with exit code %d", o.name, exit.ExitCode())
	case o.err != nil:
		v.breaks("server %s: %v", o.name, o.err)
	}
	if o.drain > v.r.grace {
		v.breaks("server %s took %v to end, its grace is %v", o.name, o.drain.Round(time.Millisecond), v.r.grace)
	}
}

// group compares what its clients got. What one got all must have got, in the
// same order, and everything that was acknowledged is among it.
func (v *verdict) group(g *group) {
	var all []int32
	for _, c := range v.r.clients {
		if c.group == g && len(c.got) > len(all) {
			all = c.got
		}
	}
	count := map[int32]int{}
	last := int32(0)
	for _, n := range all {
		count[n]++
		if g.uncertain[int(n)] {
			v.stored++
			continue
		}
		if n < last {
			v.breaks("%s: message %d came after %d, which was sent when %d was stored", g.name, n, last, n)
		}
		last = n
	}
	for n := 1; n <= g.next; n++ {
		got := count[int32(n)]
		if got > 1 || got == 0 && !g.uncertain[n] {
			v.breaks("%s: message %d was delivered %d times", g.name, n, got)
		}
	}
	for i, c := range v.r.clients {
		if c.group == g && !slices.Equal(c.got, all) {
			v.breaks("client %d (%T) of %s got %d messages, others %d, different from number %d on", i, c.wire, g.name, len(c.got), len(all), differ(c.got, all))
		}
	}
}

// differ is where two lists begin to differ.
func differ(a, b []int32) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i
}

func (v *verdict) client(i int, c *client) {
	v.delivered += len(c.got)
	for _, what := range c.broken {
		v.breaks("client %d (%T) %s", i, c.wire, what)
	}
	for _, l := range c.losses {
		v.refused += l.tries
		if l.attached.IsZero() || l.caught.IsZero() {
			v.breaks("client %d (%T) never came back", i, c.wire)
			continue
		}
		v.away = append(v.away, l.attached.Sub(l.lost))
		v.behind = append(v.behind, l.caught.Sub(l.lost))
		if took := l.caught.Sub(l.lost); took > promised {
			v.breaks("client %d (%T) was back after %v", i, c.wire, took.Round(time.Millisecond))
		}
	}
}

// at is the value that a share of sorted ones, in hundredths, does not exceed.
func at(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}

func (v *verdict) print(w io.Writer) {
	r := v.r
	fmt.Fprintf(w, "%s engine, %d clients, half of each kind, in %d groups; %d messages/s, for %v\n",
		r.engine, len(r.clients), len(r.groups), r.rate, v.took.Round(time.Second))
	for _, o := range r.rollouts {
		held := ""
		if o.held {
			held = ", which held the engine"
		}
		fmt.Fprintf(w, "  server %s%s: %d clients, ended in %v of %v, ready again in %v, all back %v after the signal\n", o.name, held, o.open,
			o.drain.Round(time.Millisecond), r.grace, o.readyIn.Round(time.Millisecond), o.allBackIn.Round(time.Millisecond))
	}
	spread := func(what string, d []time.Duration) {
		fmt.Fprintf(w, "  %s: p50 %v, p99 %v, most %v\n", what, at(d, 50).Round(time.Millisecond), at(d, 99).Round(time.Millisecond), at(d, 100).Round(time.Millisecond))
	}
	fmt.Fprintf(w, "  %d reconnections, %d attempts refused\n", len(v.away), v.refused)
	spread("connection lost until attached", v.away)
	spread("connection lost until caught up", v.behind)
	fmt.Fprintf(w, "  %d messages acknowledged, %d not (%d of them stored); the slowest took %v to send\n", v.sent, v.uncertain, v.stored, v.slowest.Round(time.Millisecond))
	fmt.Fprintf(w, "  %d deliveries; %.0f clients asked for what they missed, which cost the engine %.0f reads\n", v.delivered, v.resume, v.reads)
	for _, s := range r.servers {
		fmt.Fprintf(w, "  server %s: at most %.0f MB and %.2f CPUs\n", s.name, float64(s.usage.rss)/1e6, s.usage.cpu)
	}
	for i, what := range v.broken {
		if i == 20 {
			fmt.Fprintf(w, "BROKEN: and %d more\n", len(v.broken)-i)
			break
		}
		fmt.Fprintln(w, "BROKEN:", what)
	}
	if len(v.broken) == 0 {
		fmt.Fprintln(w, "no message missed, doubled or out of order, no gap told, everybody back in time")
	}
}
