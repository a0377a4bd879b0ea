package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

func newForward(t *testing.T, o auth.ForwardOptions) *auth.Forward {
	t.Helper()
	f, err := auth.NewForward(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// session is a request with a cookie.
func session(id string) *http.Request {
	r := httptest.NewRequest("GET", "/groups/news?x=1", nil)
	r.Header.Set("Cookie", "session="+id)
	return r
}

// answers is an endpoint in a line: pairs are headers.
func answers(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("secret words"))
	}
}

func TestAnswers(t *testing.T) {
	standard := auth.Grant{User: "someone", ReadGroups: []string{"news"}}
	const claim = `{"tasks":{"call":["mail.*"]}}`
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		reason string
		user   string
		allows string // actions
	}{
		{"200 is the standard grant", answers(200), 0, "", "someone", "read group"},
		{"204 too", answers(204), 0, "", "someone", "read group"},
		{"299 too", answers(299), 0, "", "someone", "read group"},
		{"a user is named", answers(200, "X-Rhubarb-User", "ada"), 0, "", "ada", "read group"},
		{"nobody is named", answers(200, "X-Rhubarb-User", ""), 0, "", "", "read group"},
		{"permissions are given", answers(200, "X-Rhubarb-Grant", claim), 0, "", "someone", "call task"},
		{"both are given", answers(200, "X-Rhubarb-User", "ada", "X-Rhubarb-Grant", claim), 0, "", "ada", "call task"},
		{"no permissions are given", answers(200, "X-Rhubarb-Grant", "{}"), 0, "", "someone", ""},
		{"401", answers(401, "X-Rhubarb-Grant", claim), 401, "log in", "", ""},
		{"403", answers(403, "X-Rhubarb-Grant", claim), 403, "may not", "", ""},
		{"404", answers(404), 503, "404", "", ""},
		{"400", answers(400), 503, "400", "", ""},
		{"500", answers(500), 503, "500", "", ""},
		{"a redirect", answers(302, "Location", "/", "X-Rhubarb-Grant", claim), 503, "302", "", ""},
		{"a hidden failure", answers(304), 503, "304", "", ""},
		{"a grant that is no JSON", answers(200, "X-Rhubarb-Grant", "all"), 503, "X-Rhubarb-Grant", "", ""},
		{"an empty grant", answers(200, "X-Rhubarb-Grant", ""), 503, "X-Rhubarb-Grant", "", ""},
		{"a grant that is misspelt", answers(200, "X-Rhubarb-Grant", `{"task":{}}`), 503, "X-Rhubarb-Grant", "", ""},
		{"too long a grant", answers(200, "X-Rhubarb-Grant", claim+strings.Repeat(" ", 8<<10)+"{}"), 503, "8 KiB", "", ""},
		{"two grants", answers(200, "X-Rhubarb-Grant", "{}", "X-Rhubarb-Grant", claim), 503, "several", "", ""},
		{"two users", answers(200, "X-Rhubarb-User", "a", "X-Rhubarb-User", "b"), 503, "several", "", ""},
		{"too long a user", answers(200, "X-Rhubarb-User", strings.Repeat("a", 257)), 503, "256 bytes", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.answer)
			defer srv.Close()
			f := newForward(t, auth.ForwardOptions{URL: srv.URL, Default: standard, CacheFor: time.Hour})
			for range 2 { // fresh and kept
				g, err := f.Authenticate(session("secret id"))
				if c.status != 0 {
					refused(t, err, c.status, "", "secret id", "secret words")
					if e, _ := errors.AsType[*auth.Error](err); !strings.Contains(err.Error(), c.reason) || strings.Contains(e.Reason, srv.URL) {
						t.Errorf("got %q, want %q in it, and no address", err, c.reason)
					}
					continue
				}
				if err != nil || g.User != c.user {
					t.Fatalf("got %+v, %v, want the user %q", g, err, c.user)
				}
				for action, name := range map[auth.Action]string{auth.ReadGroup: "news", auth.CallTask: "mail.send"} {
					if got, want := g.Allows(action, name), c.allows == action.String(); got != want {
						t.Errorf("may %s: %v, want %v", action, got, want)
					}
				}
			}
		})
	}
}

func TestQuestion(t *testing.T) {
	var asked *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r }))
	defer srv.Close()
	strip := func(r *http.Request) *http.Request {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/groups")
		return r
	}
	for _, c := range []struct {
		name    string
		headers []string
		change  func(r *http.Request) *http.Request
		want    map[string]string
	}{
		{"has cookies and tokens", nil, nil, map[string]string{"Cookie": "session=1", "Authorization": "Bearer t", "X-Api-Key": ""}},
		{"has what is named, alone", []string{"x-api-key"}, nil, map[string]string{"Cookie": "", "Authorization": "", "X-Api-Key": "k"}},
		{"says what was asked", nil, nil, map[string]string{"X-Original-Uri": "/groups/news?x=1", "X-Original-Method": "POST"}},
		{"says what was asked before a prefix was stripped", nil, strip, map[string]string{"X-Original-Uri": "/groups/news?x=1"}},
		{"says who asks", nil, nil, map[string]string{"X-Forwarded-For": "192.0.2.1"}},
		{"appends who asks", nil, func(r *http.Request) *http.Request {
			r.Header["X-Forwarded-For"] = []string{"10.0.0.1", "10.0.0.2"}
			return r
		}, map[string]string{"X-Forwarded-For": "10.0.0.1, 10.0.0.2, 192.0.2.1"}},
		{"cannot be forged", nil, func(r *http.Request) *http.Request {
			r.Header.Set("X-Original-URI", "/free")
			r.Header.Set("X-Original-Method", "GET")
			return r
		}, map[string]string{"X-Original-Uri": "/groups/news?x=1", "X-Original-Method": "POST"}},
		{"has no body", nil, nil, map[string]string{"Content-Length": "", "Content-Type": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/groups/news?x=1", strings.NewReader("body"))
			for name, value := range map[string]string{"Cookie": "session=1", "Authorization": "Bearer t", "X-Api-Key": "k", "Content-Type": "text/plain"} {
				r.Header.Set(name, value)
			}
			if c.change != nil {
				r = c.change(r)
			}
			if _, err := newForward(t, auth.ForwardOptions{URL: srv.URL + "/check", Headers: c.headers}).Authenticate(r); err != nil {
				t.Fatal(err)
			}
			if asked.Method != "GET" || asked.URL.Path != "/check" {
				t.Errorf("asked %s %s, want GET /check", asked.Method, asked.URL.Path)
			}
			for name, want := range c.want {
				if got := strings.Join(asked.Header[name], "|"); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestRequestsThatAreNotAskedAbout(t *testing.T) {
	f := newForward(t, auth.ForwardOptions{URL: "http://127.0.0.1:1/"})
	_, err := f.Authenticate(httptest.NewRequest("GET", "/", nil))
	if !errors.Is(err, auth.ErrNone) {
		t.Errorf("without credentials: got %v, want ErrNone", err)
	}
	_, err = f.Authenticate(session(strings.Repeat("a", 32<<10)))
	refused(t, err, 401, "32 KiB")
	_, err = f.Authenticate(session("a"))
	refused(t, err, 503, "try again", "session=a")
}

func TestForwardsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name string
		opts auth.ForwardOptions
		want string
	}{
		{"no URL", auth.ForwardOptions{}, "URL"},
		{"a path", auth.ForwardOptions{URL: "/check"}, "URL"},
		{"a file", auth.ForwardOptions{URL: "file:///check"}, "URL"},
		{"no host", auth.ForwardOptions{URL: "http:///check"}, "URL"},
		{"an empty list of headers", auth.ForwardOptions{URL: "http://a", Headers: []string{}}, "without Headers"},
		{"a header that is none", auth.ForwardOptions{URL: "http://a", Headers: []string{"a b"}}, "not the name"},
		{"a header without a name", auth.ForwardOptions{URL: "http://a", Headers: []string{""}}, "not the name"},
		{"a header of the question", auth.ForwardOptions{URL: "http://a", Headers: []string{"x-original-uri"}}, "X-Original-Uri"},
		{"a header of the connection", auth.ForwardOptions{URL: "http://a", Headers: []string{"host"}}, "Host"},
		{"a negative time", auth.ForwardOptions{URL: "http://a", Timeout: -1}, "negative"},
		{"a negative cache", auth.ForwardOptions{URL: "http://a", MaxEntries: -1}, "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := auth.NewForward(c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestHowLongAnswersCount(t *testing.T) {
	const most = 10 * time.Second
	for _, c := range []struct {
		name    string
		status  int
		control []string
		max     time.Duration
		want    time.Duration
	}{
		{"a grant as long as set", 200, nil, most, most},
		{"no time if none is set", 200, []string{"Cache-Control", "max-age=60"}, 0, 0},
		{"a grant for less, if it says so", 200, []string{"Cache-Control", "private, Max-Age=3"}, most, 3 * time.Second},
		{"a grant for no more, if it says so", 200, []string{"Cache-Control", "max-age=3600"}, most, most},
		{"the shortest of several", 200, []string{"Cache-Control", "max-age=5", "Cache-Control", "max-age=2"}, most, 2 * time.Second},
		{"an age in quotes", 200, []string{"Cache-Control", `max-age="4"`}, most, 4 * time.Second},
		{"an age beyond all numbers", 200, []string{"Cache-Control", "max-age=99999999999999999999"}, most, most},
		{"an age that is none", 200, []string{"Cache-Control", "max-age=soon"}, most, 0},
		{"a negative age", 200, []string{"Cache-Control", "max-age=-1"}, most, 0},
		{"no age", 200, []string{"Cache-Control", "max-age"}, most, 0},
		{"an age of zero", 200, []string{"Cache-Control", "max-age=0"}, most, 0},
		{"nothing to be stored", 200, []string{"Cache-Control", "no-store"}, most, 0},
		{"nothing to be stored, whatever its age", 200, []string{"Cache-Control", "max-age=5, no-cache"}, most, 0},
		{"a refusal for a second", 401, nil, most, time.Second},
		{"a refusal for a second, even if it says more", 403, []string{"Cache-Control", "max-age=5"}, most, time.Second},
		{"a refusal for less, if set", 403, nil, time.Second / 2, time.Second / 2},
		{"a failure for no time", 500, nil, most, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				f := newForward(t, auth.ForwardOptions{URL: "http://app/", CacheFor: c.max, Transport: overPipes(t, http.HandlerFunc(
					func(w http.ResponseWriter, r *http.Request) {
						asked.Add(1)
						answers(c.status, c.control...)(w, r)
					},
				))})
				ask := func() { f.Authenticate(session("1")) }
				ask()
				if c.want > 0 {
					time.Sleep(c.want - 1)
					ask()
					if n := asked.Load(); n != 1 {
						t.Errorf("asked %d times within %s, want once", n, c.want)
					}
					time.Sleep(1 * time.Nanosecond)
				}
				ask()
				if n := asked.Load(); n != 2 {
					t.Errorf("asked %d times after %s, want twice", n, c.want)
				}
			})
		})
	}
}

func TestAnswersAreKeptPerCaller(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("X-Rhubarb-User", r.Header.Get("Cookie")+r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	f := newForward(t, auth.ForwardOptions{URL: srv.URL, CacheFor: time.Hour})
	withToken := func(r *http.Request, token string) *http.Request {
		r.Header.Set("Authorization", token)
		return r
	}
	callers := map[string]*http.Request{
		"session=1":   session("1"),
		"session=2":   session("2"),
		"session=1b":  withToken(session("1"), "b"),
		"session=1bc": withToken(session("1b"), "c"),
	}
	for range 2 {
		for want, r := range callers {
			g, err := f.Authenticate(r)
			if err != nil || g.User != want {
				t.Errorf("got %+v, %v, want the user %s", g, err, want)
			}
			g.User = "changed" // by whoever got it
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("asked %d times about 4 callers", n)
	}
	other := session("1")
	other.Method, other.RequestURI, other.RemoteAddr = "POST", "/other", "192.0.2.9:1"
	if g, err := f.Authenticate(other); err != nil || g.User != "session=1" || asked.Load() != 4 {
		t.Errorf("got %+v, %v after %d questions, want what is known", g, err, asked.Load())
	}
}

func TestMadeUpCredentialsPushNobodyOut(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "session=good" {
			w.WriteHeader(401)
			return
		}
		asked.Add(1)
	}))
	defer srv.Close()
	f := newForward(t, auth.ForwardOptions{URL: srv.URL, CacheFor: time.Hour, MaxEntries: 2})
	for i := range 10 {
		if _, err := f.Authenticate(session("good")); err != nil {
			t.Fatal(err)
		}
		_, err := f.Authenticate(session(strconv.Itoa(i)))
		refused(t, err, 401, "")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		open := make(chan struct{})
		f := newForward(t, auth.ForwardOptions{URL: "http://app/", Transport: overPipes(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				<-open
				w.Header().Set("X-Rhubarb-User", r.Header.Get("X-Original-URI"))
			},
		))})
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := f.Authenticate(session("1").WithContext(ctx))
			left <- err
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 20 {
			for _, uri := range []string{"/groups/news?x=1", "/other"} {
				all.Go(func() {
					r := session("1")
					r.RequestURI = uri
					g, err := f.Authenticate(r)
					if err != nil || g.User != uri {
						t.Errorf("got %+v, %v, want the answer about %s", g, err, uri)
					}
				})
			}
		}
		synctest.Wait()
		leave() // who asked first: the others still wait
		refused(t, <-left, 503, "request ended")
		close(open)
		all.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times about 2 addresses", n)
		}
	})
}

func TestEndpointThatHangs(t *testing.T) {
	for _, c := range []struct{ set, want time.Duration }{{0, 5 * time.Second}, {time.Second, time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			f := newForward(t, auth.ForwardOptions{URL: "http://app/", Timeout: c.set, Transport: overPipes(t, http.HandlerFunc(
				func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			))})
			start := time.Now()
			_, err := f.Authenticate(session("1"))
			refused(t, err, 503, "try again")
			if got := time.Since(start); got != c.want {
				t.Errorf("gave up after %s, want %s", got, c.want)
			}
		})
	}
}
