package browser_test

import (
	"strings"
	"testing"
)

func TestNothingIsLostOverACut(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			b := open(t).visit(s.url + "/page")
			b.follow(tr.feed)
			b.status("open")
			s.say("1", "2")
			b.heard("1 2")
			s.cut()
			s.say("3", "4")
			b.heard("1 2 3 4")
			s.say("5")
			b.heard("1 2 3 4 5")
			asked := s.requests(tr.path)
			if len(asked) != 2 || asked[0] != "" || !strings.HasPrefix(asked[1], "last_event_id=") {
				t.Errorf("asked %q, want two requests, the second with last_event_id", asked)
			}
		})
	}
}

func TestEachTabHearsEachEventOnceOverOneConnection(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			w := open(t)
			feed := strings.Replace(tr.feed, ", {share: false}", "", 1)
			var tabs []*tab
			for range 3 {
				b := w.visit(s.url + "/page")
				b.follow(feed)
				b.status("open")
				tabs = append(tabs, b)
			}
			s.settles(1)
			s.say(numbers(1, 20)...)
			for _, b := range tabs {
				b.heard(strings.Join(numbers(1, 20), " "))
			}
			s.settles(1)
			tabs[0].end() // which leads
			s.say(numbers(21, 40)...)
			for _, b := range tabs[1:] {
				b.heard(strings.Join(numbers(1, 40), " "))
			}
			s.settles(1)
		})
	}
}
