package browser_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

func TestNothingIsLostOverACut(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			b := open(t).visit(s.url + "/page")
			b.follow(tr.feed)
			b.until("feed.last")
			s.away.Store(true)
			s.cut()
			s.say("1") // it has heard nothing before
			s.away.Store(false)
			b.heard("1")
			s.cut()
			s.say("2", "3")
			b.heard("1 2 3")
			s.say("4")
			b.heard("1 2 3 4")
			if asked := s.requests(tr.path); asked[0] != "" || !strings.HasPrefix(asked[len(asked)-1], "last_event_id=") {
				t.Errorf("asked %q, want the first without and the last with last_event_id", asked)
			}
		})
	}
}

// TestServerSaysWhenToComeBack has a server that hints at longer than the
// client would wait by itself, which is up to a second.
func TestServerSaysWhenToComeBack(t *testing.T) {
	const hint = 2500 * time.Millisecond
	var left [2]time.Time // when each server had sent its client away
	ended := make(chan struct{}, 2)
	serveOnce := func(i int, sendAway func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if left[i].IsZero() {
				left[i] = time.Now()
				sendAway(w, r)
				return
			}
			if took := time.Since(left[i]); took < hint {
				t.Errorf("%s came back after %v, want at least %v", r.URL.Path, took, hint)
			}
			ended <- struct{}{}
			w.WriteHeader(http.StatusNotFound)
		}
	}
	s := serve(t)
	s.mux.HandleFunc("/hint/events", serveOnce(0, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "retry: %d\n\n", hint.Milliseconds())
	}))
	s.mux.HandleFunc("/hint/ws", serveOnce(1, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"rhubarb.v1"}})
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close(websocket.StatusServiceRestart, fmt.Sprintf("service restart; retry=%d", hint.Milliseconds()))
	}))
	b := open(t).visit(s.url + "/page")
	b.follow(`rhubarb.follow("/hint/events")`)
	b.run(`window.socket = rhubarb.connect("/hint/ws")`)
	<-ended
	<-ended
	b.status("refused")
}

func TestAHiddenPageLetsGoAndCatchesUp(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			b := open(t).visit(s.url + "/page")
			b.follow(strings.Replace(tr.feed, "share: false", "hidden: 50", 1))
			b.status("open")
			s.say("1")
			b.heard("1")
			b.run("see(false)")
			b.status("asleep")
			s.settles(0)
			s.say("2")
			b.run("see(true)")
			b.heard("1 2")
			s.settles(1)
			b.run("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
			s.settles(0)
			s.say("3")
			b.run("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
			b.heard("1 2 3")
		})
	}
}

func TestAnEndIsForGood(t *testing.T) {
	t.Parallel()
	s := serve(t)
	words := make(chan string, 2)
	id := s.count(words)
	b := open(t).visit(s.url + "/page")
	for _, path := range []string{"/tasks/" + id + "/events", "/tasks/" + id + "/ws"} {
		how := map[bool]string{true: "connect", false: "follow"}[strings.HasSuffix(path, "ws")]
		b.follow(`rhubarb.` + how + `("` + path + `", {share: false})`)
		if how == "follow" {
			b.status("open")
			words <- "one"
			words <- "two"
			close(words)
		}
		b.status("ended")
		b.heard("reset one two end")
		if got := eval[string](b, "statuses.join()"); got != "connecting,open,ended" && got != "open,ended" {
			t.Errorf("it was %s, want open and ended", got)
		}
		if asked := s.requests(path); len(asked) != 1 {
			t.Errorf("%s: asked %q, want once", path, asked)
		}
		// Who is at the end already is told so.
		b.follow(`rhubarb.` + how + `("` + path + `", {share: false, last: "` + eval[string](b, "feed.last") + `"})`)
		b.status("ended")
		b.heard("")
	}
}

func TestARefusalIsForGoodAndTold(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *gateway.Options) { o.Token = "sesame" })
	s.mux.HandleFunc("/forbidden/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not you", http.StatusForbidden) })
	b := open(t).visit(s.url + "/page")
	for _, c := range []struct {
		path    string
		status  int
		message string
	}{
		{"/groups/chat.garden/", 401, "send the token as Authorization: Bearer <token>"},
		{"/forbidden/", 403, "not you\n"},
		{"/groups/other/", 404, `the group "other" is not open here`},
	} {
		for how, path := range map[string]string{"follow": c.path + "events", "connect": c.path + "ws"} {
			query := map[bool]string{true: "?access_token=sesame"}[c.status == 404]
			b.follow(`rhubarb.` + how + `("` + path + query + `")`)
			b.status("refused")
			b.until("troubles.length")
			type trouble struct {
				Status  int
				Message string
			}
			if got := eval[[]trouble](b, "troubles"); len(got) != 1 || got[0] != (trouble{c.status, c.message}) {
				t.Errorf("%s: got %+v, want %d %s", path, got, c.status, c.message)
			}
		}
	}
}

// TestAnAddressIsAskedForEachConnection has tickets that end, of which each
// connection needs a new one.
func TestAnAddressIsAskedForEachConnection(t *testing.T) {
	tickets, err := auth.NewTickets([]byte(strings.Repeat("rhubarb ", 8)))
	if err != nil {
		t.Fatal(err)
	}
	for how, path := range map[string]string{"follow": "/groups/chat.garden/events", "connect": "/groups/chat.garden/ws"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(o *gateway.Options) { o.Auth, o.Token = tickets, "sesame" })
			s.token = "sesame"
			s.mux.HandleFunc("/ticket", func(w http.ResponseWriter, _ *http.Request) {
				ticket, err := tickets.Issue("ann", auth.ReadGroup, "chat.garden", 2*time.Second)
				if err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, ticket)
			})
			b := open(t).visit(s.url + "/page")
			b.follow(`rhubarb.` + how + `(async () => "` + path + `?ticket=" + await (await fetch("/ticket")).text())`)
			b.until("feed.last")
			for n := 1; n <= 3; n++ {
				s.say(fmt.Sprint(n))
				s.until(func() string {
					if got := len(s.requests("/ticket")); got <= n {
						return fmt.Sprintf("%d tickets were asked for, want %d", got, n+1)
					}
					return ""
				})
			}
			b.heard("1 2 3")
			if got := eval[int](b, "troubles.length"); got != 0 {
				t.Errorf("%d troubles, want none", got)
			}
		})
	}
}

// TestAPageOfAnotherSite is one of Origins.
func TestAPageOfAnotherSite(t *testing.T) {
	t.Parallel()
	other := http.NewServeMux()
	site := serveOther(t, other)
	s := serve(t, func(o *gateway.Options) { o.Origins, o.Token = []string{site}, "sesame" })
	s.token = "sesame"
	other.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, strings.Replace(blank, `"/rhubarb.js"`, `"`+s.url+`/rhubarb.js"`, 1))
	})
	b := open(t).visit(site + "/page")
	for how, path := range map[string]string{"follow": "/groups/chat.garden/events", "connect": "/groups/chat.garden/ws"} {
		b.follow(`rhubarb.` + how + `("` + s.url + path + `?access_token=sesame")`)
		b.until("feed.last")
		s.say("hello")
		b.heard("hello")
		b.follow(`rhubarb.` + how + `("` + s.url + path + `")`)
		b.status("refused")
		if got := eval[int](b, "troubles[0].status"); got != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", path, got)
		}
	}
}
