package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tabs opens tabs that follow one thing, the first of which leads.
func (s *site) tabs(n int, feed string) []*tab {
	s.t.Helper()
	w := open(s.t)
	var all []*tab
	for range n {
		b := w.visit(s.url + "/page")
		b.follow(strings.Replace(feed, ", {share: false}", "", 1))
		b.status("open")
		all = append(all, b)
	}
	s.settles(1)
	return all
}

func listTo(n int) string { return strings.Join(numbers(1, n), " ") }

func TestTabsShareAConnection(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			tabs := s.tabs(3, tr.feed)
			s.say(numbers(1, 20)...)
			for _, b := range tabs {
				b.heard(listTo(20))
			}
			s.settles(1)
			s.cut()
			s.say(numbers(21, 40)...)
			for _, b := range tabs {
				b.heard(listTo(40))
			}
			tabs[0].end()
			s.say(numbers(41, 60)...)
			for _, b := range tabs[1:] {
				b.heard(listTo(60))
			}
			s.settles(1)
			tabs[1].run("see(false); dispatchEvent(new Event('pagehide'))")
			s.say(numbers(61, 70)...)
			tabs[2].heard(listTo(70))
			tabs[1].run("see(true)")
			tabs[1].heard(listTo(70))
			s.settles(1)
		})
	}
}

// TestALateTabHearsItAll has a tab follow what another has followed long since.
func TestALateTabHearsItAll(t *testing.T) {
	for _, how := range []struct{ name, path string }{{"follow", "events"}, {"connect", "ws"}} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			words := make(chan string)
			feed := `rhubarb.` + how.name + `("/tasks/` + s.count(words) + `/` + how.path + `")`
			w := open(t)
			first := w.visit(s.url + "/page")
			first.follow(feed)
			for _, n := range numbers(1, 30) {
				words <- n
			}
			first.heard("reset " + listTo(30))
			late := w.visit(s.url + "/page")
			late.follow(feed)
			go func() {
				defer close(words)
				for _, n := range numbers(31, 60) {
					words <- n
				}
			}()
			for _, b := range []*tab{first, late} {
				b.heard("reset " + listTo(60) + " end")
				b.status("ended")
			}
			s.settles(0)
		})
	}
}

func TestALateTabOfAnEndlessStreamSharesInTheEnd(t *testing.T) {
	t.Parallel()
	s := serve(t)
	words := make(chan string)
	defer close(words)
	feed := `rhubarb.follow("/tasks/` + s.count(words) + `/events")`
	w := open(t)
	first, late := w.visit(s.url+"/page"), w.visit(s.url+"/page")
	first.follow(feed)
	words <- "1"
	words <- "2"
	first.heard("reset 1 2")
	late.follow(feed)
	late.heard("reset 1 2")
	s.settles(1)
	words <- "3"
	first.heard("reset 1 2 3")
	late.heard("reset 1 2 3")
}

// What a group does not keep has no ids; tabs hear it from when they join.
func TestTabsShareWhatIsNotKept(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tabs := s.tabs(2, `rhubarb.follow("/groups/chat.brief/events")`)
	s.sayIn("chat.brief", "1", "2")
	for _, b := range tabs {
		b.heard("1 2")
	}
}

func TestAFrozenLeaderIsFollowed(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tabs := s.tabs(2, transports[0].feed)
	s.say("1")
	tabs[1].heard("1")
	state := func(to page.SetWebLifecycleStateState) {
		tabs[0].do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: to})
			return err
		}))
	}
	state(page.SetWebLifecycleStateStateFrozen)
	s.say("2")
	tabs[1].heard("1 2")
	state(page.SetWebLifecycleStateStateActive)
	tabs[0].heard("1 2")
	s.settles(1)
}

// TestALeaderThatHangsIsReplaced has one that waits, and does nothing else,
// until the other leads.
func TestALeaderThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	s := serve(t)
	hangs, replaced := make(chan struct{}), make(chan struct{})
	s.mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) {
		close(hangs)
		<-replaced
	})
	tabs := s.tabs(2, transports[0].feed)
	s.say("1")
	tabs[1].heard("1")
	var hanging sync.WaitGroup
	hanging.Go(func() {
		tabs[0].run(`const ask = new XMLHttpRequest(); ask.open("GET", "/hang", false); ask.send()`)
	})
	<-hangs
	s.say("2")
	tabs[1].heard("1 2")
	close(replaced)
	hanging.Wait()
	s.say("3")
	for _, b := range tabs {
		b.heard("1 2 3")
	}
	s.settles(1)
}

// TestALeaderThatIsBehind has been silent while another went on alone, and says
// again what that has had.
func TestALeaderThatIsBehind(t *testing.T) {
	t.Parallel()
	s := serve(t)
	hangs, goOn, caughtUp := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) {
		close(hangs)
		<-goOn
	})
	var came atomic.Int32
	s.mux.HandleFunc("/behind/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(from, to int) {
			for _, n := range numbers(from, to) {
				_, _ = fmt.Fprintf(w, "id: %s\ndata: {\"message\": %s}\n\n", n, n)
			}
			_ = http.NewResponseController(w).Flush() // it may have gone
		}
		if came.Add(1) == 1 { // who leads
			send(1, 2)
			<-caughtUp
			send(3, 5)
		} else {
			send(1, 4)
		}
		<-r.Context().Done()
	})
	w := open(t)
	behind, ahead := w.visit(s.url+"/page"), w.visit(s.url+"/page")
	feed := `rhubarb.follow("/behind/events")`
	behind.follow(feed)
	behind.heard("1 2")
	var hanging sync.WaitGroup
	hanging.Go(func() {
		behind.run(`const ask = new XMLHttpRequest(); ask.open("GET", "/hang", false); ask.send()`)
	})
	<-hangs
	ahead.follow(feed)
	ahead.heard("1 2 3 4")
	close(goOn)
	hanging.Wait()
	ahead.until("!feed.share.line.stopper") // it has met who leads
	close(caughtUp)
	behind.heard("1 2 3 4 5")
	ahead.heard("1 2 3 4 5")
	if got := came.Load(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestSendsOfEachTabArrive(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tabs := s.tabs(3, transports[1].feed)
	say := func(b *tab, message string) {
		t.Helper()
		if got := eval[string](b, `feed.send(`+message+`).then(() => "sent", e => e.message)`); got != "sent" {
			t.Fatalf("send %s: %s", message, got)
		}
	}
	want := ""
	for i, b := range tabs {
		text := string(rune('a' + i))
		say(b, `{type: "chat.message", message: "`+text+`"}`)
		want = strings.TrimSpace(want + " " + text)
		for _, b := range tabs {
			b.heard(want)
		}
	}
	say(tabs[2], `{message: "without a type"}`)
	say(tabs[1], `{type: "chat.message", message: "d"}`)
	tabs[2].until("troubles.length")
	if got := eval[string](tabs[2], "troubles[0].message"); !strings.Contains(got, "type must be text") {
		t.Errorf("the server complains: %q", got)
	}
	for _, b := range tabs {
		b.heard(want + " d")
	}
	for _, b := range tabs[:2] {
		if got := eval[int](b, "troubles.length"); got != 0 {
			t.Errorf("%d complaints in a tab that did nothing wrong", got)
		}
	}
	s.settles(1)
}
