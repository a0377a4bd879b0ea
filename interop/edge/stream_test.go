package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// gate lets a task say one number after the other.
type gate struct {
	url   string
	turns []chan struct{} // by number; closed when it may be said
}

func openGate(t *testing.T, to int) *gate {
	g := &gate{turns: make([]chan struct{}, to+1)}
	for n := range g.turns {
		g.turns[n] = make(chan struct{})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil || n < 1 || n > to {
			http.Error(w, "no such number", http.StatusBadRequest)
			return
		}
		select {
		case <-g.turns[n]:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // of a task that still waits
	g.url = s.URL
	return g
}

func (g *gate) pass(n int) { close(g.turns[n]) }

// count calls the task that counts and returns its id.
func (e *edge) count(t *testing.T, to int, gate string) string {
	t.Helper()
	answer := post(t, e.url+"/tasks/edge.count", fmt.Sprintf(`{"kwargs": {"to": %d, "gate": %s}}`, to, quote(gate)))
	var called struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &called); err != nil || called.ID == "" {
		t.Fatalf("got %s, %v, want an id", answer, err)
	}
	return called.ID
}

// A number is said when all have heard the one before.
func TestStreamIsHeardOnceAndInOrderToItsEnd(t *testing.T) {
	onEachWay(t, func(t *testing.T, e *edge) {
		const to = 5
		g := openGate(t, to)
		id := e.count(t, to, g.url)
		f := followAll(t, e, "/tasks/"+id, "")
		for n := 1; n <= to; n++ {
			if n == 3 {
				e.cut()
			}
			g.pass(n)
			f.hear(n)
		}
		for _, c := range f.all() {
			c.await(1, "lost", isLost)
		}
		for _, c := range f.events {
			c.await(1, "the end", isEnd)
			l := c.await(1, "over", isOver) // by a request for what comes after the end
			if l.Over != "204" && l.Over != "closed" {
				t.Errorf("%s was over for %q, want 204", c.name, l.Over)
			}
		}
		for _, c := range f.sockets {
			if l := c.await(1, "over", isOver); l.Code != 1000 || l.Reason != "end" {
				t.Errorf("%s was closed with %d %q, want 1000 and end", c.name, l.Code, l.Reason)
			}
		}
		for _, c := range f.all() {
			c.heard(to)
		}
	})
}

// A client that comes late hears all of it, asks once more, is told that there
// is nothing more, and asks no further.
func TestWhoComesAfterTheEndHearsAll(t *testing.T) {
	t.Parallel()
	e := direct(t)
	const to = 3
	g := openGate(t, to)
	id := e.count(t, to, g.url)
	for n := 1; n <= to; n++ {
		g.pass(n)
	}
	f := followAll(t, e, "/tasks/"+id, "")
	for _, c := range f.all() {
		c.await(1, "over", isOver)
		c.heard(to)
	}
	numbers := e.get(t, "/metrics")
	for name, want := range map[string]int{"rhubarb_sse_opened_total": len(f.events), `rhubarb_sse_refused_total{cause="at_end"}`: len(f.events), "rhubarb_ws_opened_total": len(f.sockets)} {
		if line := fmt.Sprintf("\n%s %d\n", name, want); !strings.Contains(numbers, line) {
			t.Errorf("the metrics have no %q", line)
		}
	}
}

func TestGapIsToldToEveryClient(t *testing.T) {
	t.Parallel()
	e := direct(t)
	room := "room." + newName()
	f := followAll(t, e, "/groups/"+room, "?last_event_id=elsewhere")
	for _, c := range f.all() {
		c.await(1, "a gap", isGap)
	}
	e.publish(t, room, 1)
	f.hear(1)
	for _, c := range f.all() {
		c.heard(1)
	}
}
