package edge_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// followers are all clients on one address, which ends in /events, and in /ws
// for a WebSocket.
type followers struct {
	events, sockets []*client
}

func (f followers) all() []*client { return append(append([]*client(nil), f.events...), f.sockets...) }

// followAll has every client follow what is at the path, and waits until all
// are connected.
func followAll(t *testing.T, e *edge, path, query string) followers {
	t.Helper()
	p := browse(t, e.url)
	events := e.url + path + "/events" + query
	f := followers{events: []*client{node(t, "eventsource", events), p.follow(eventSource, events), p.follow(fetched, events)}}
	if e.sockets {
		at := e.url + path + "/ws" + query
		f.sockets = []*client{node(t, "ws", at), p.follow(socket, at)}
	}
	for _, c := range f.all() {
		c.await(1, "open", isOpen)
	}
	return f
}

func (f followers) hear(n int) {
	for _, c := range f.all() {
		c.t.Helper()
		c.hears(n)
	}
}

// eventOf is the text of event n of a group.
func eventOf(n int) string { return fmt.Sprintf(`{"type":"edge.count","n":%d}`, n) }

// publish sends event n to a group over HTTP.
func (e *edge) publish(t *testing.T, room string, n int) {
	t.Helper()
	post(t, e.url+"/groups/"+room, eventOf(n))
}

// post sends JSON and returns the answer's body, which must be a good one's.
func post(t *testing.T, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	status, text := fetch(t, req)
	if status != http.StatusAccepted {
		t.Fatalf("%s: got %d %s", url, status, text)
	}
	return text
}

var restarting = regexp.MustCompile(`^service restart; retry=\d+$`)

// Each event is heard by all before the next is sent, so nothing on the way
// keeps any back.
func TestGroupIsHeardByAllThroughCutsAndDeploys(t *testing.T) {
	onEachWay(t, func(t *testing.T, e *edge) {
		room := "room." + newName()
		f := followAll(t, e, "/groups/"+room, "")
		n := 0
		say := func(send func(n int)) {
			n++
			send(n)
			f.hear(n)
		}
		byHTTP := func(n int) { e.publish(t, room, n) }
		say(byHTTP)
		say(byHTTP)
		for _, c := range f.sockets {
			say(func(n int) { c.send(eventOf(n)) })
		}

		e.cut()
		say(byHTTP)
		say(byHTTP)
		for _, c := range f.all() {
			c.await(1, "lost", isLost)
		}

		if e.deploy != nil {
			e.deploy(func() { say(byHTTP) })
		}
		for _, c := range f.sockets {
			l := c.await(1, "1012", func(l line) bool { return l.Code == 1012 })
			if !restarting.MatchString(l.Reason) {
				t.Errorf("%s was closed with %q, want a reason that says when to come back", c.name, l.Reason)
			}
			say(func(n int) { c.send(eventOf(n)) })
		}
		for _, c := range f.all() {
			c.heard(n)
		}
	})
}
