package sse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// answers is a server that gives one answer after the other and keeps when
// and with which Last-Event-ID it was asked.
type answers struct {
	list  []func(w http.ResponseWriter, r *http.Request)
	start time.Time
	asked []string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := len(a.asked)
	a.asked = append(a.asked, fmt.Sprintf("%v %s", time.Since(a.start), r.Header.Get("Last-Event-ID")))
	a.list[min(n, len(a.list)-1)](w, r)
}

// says answers with a stream.
func says(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		io.WriteString(w, text)
	}
}

func status(code int, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// cut breaks the connection.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// subscribe follows a to its end in a bubble.
func subscribe(t *testing.T, a *answers, o sse.ClientOptions) (got []string, err error) {
	t.Helper()
	_, client := inBubble(t, a)
	a.start = time.Now()
	req, err := http.NewRequest("GET", "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Client = client
	for e, err := range sse.Subscribe(t.Context(), req, &o) {
		if err != nil {
			return got, err
		}
		got = append(got, e.Data)
	}
	return got, nil
}

func TestClientReconnectsWithLastEventIDUntil204(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []func(http.ResponseWriter, *http.Request){
			says("retry: 8000\nid: 1\ndata: a\n\nid: 2\ndata: cut"), says("data: b\n\nid: 3\n\n"), status(204),
		}}
		got, err := subscribe(t, a, sse.ClientOptions{LastEventID: "0"})
		if err != nil || !slices.Equal(got, []string{"a", "b"}) || len(a.asked) != 3 {
			t.Fatalf("got %q, %v, asked %q", got, err, a.asked)
		}
		for i, want := range []string{" 0", " 1", " 3"} {
			if !strings.HasSuffix(a.asked[i], want) {
				t.Errorf("asked %q, want ids 0, 1 and 3", a.asked)
			}
		}
		at, err := time.ParseDuration(strings.Fields(a.asked[1])[0])
		if err != nil || at < 8*time.Second || at > 10*time.Second {
			t.Errorf("reconnected after %v, want the server's 8 s and up to a quarter more", at)
		}
	})
}

func TestClientStopsAtWhatIsNoStream(t *testing.T) {
	for _, code := range []int{201, 205, 210, 299, 400, 401, 403, 404, 410, 500} {
		synctest.Test(t, func(t *testing.T) {
			a := &answers{list: []func(http.ResponseWriter, *http.Request){status(code)}}
			_, err := subscribe(t, a, sse.ClientOptions{})
			if s, ok := errors.AsType[*sse.StatusError](err); !ok || s.Status != code || len(a.asked) != 1 {
				t.Errorf("%d: got %v after %d requests", code, err, len(a.asked))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []func(http.ResponseWriter, *http.Request){status(200, "Content-Type", "text/html")}}
		if _, err := subscribe(t, a, sse.ClientOptions{}); err == nil || !strings.Contains(err.Error(), `"text/html"`) {
			t.Errorf("got %v, want an error that names the type", err)
		}
	})
}

func TestClientWaitsLongerAfterEachFailureUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		list := []func(http.ResponseWriter, *http.Request){}
		for range 6 {
			list = append(list, cut)
		}
		a := &answers{list: append(list, status(204))}
		if _, err := subscribe(t, a, sse.ClientOptions{
			Retry: time.Second, MaxRetry: 10 * time.Second,
			OnRetry: func(err error, wait time.Duration) {
				waits = append(waits, wait)
				if err == nil {
					t.Error("no reason is given")
				}
			},
		}); err != nil {
			t.Fatal(err)
		}
		for i, base := range []time.Duration{1, 2, 4, 8, 10, 10} {
			if base *= time.Second; len(waits) != 6 || waits[i] < base || waits[i] > base+base/4 {
				t.Fatalf("waits are %v, want 1, 2, 4, 8, 10 and 10 s and up to a quarter more", waits)
			}
		}
	})
}

func TestClientHonoursRetryAfterOfABusyServer(t *testing.T) {
	for _, code := range []int{429, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			a := &answers{list: []func(http.ResponseWriter, *http.Request){status(code, "Retry-After", "30"), says("data: a\n\n"), status(204)}}
			got, err := subscribe(t, a, sse.ClientOptions{})
			at, perr := time.ParseDuration(strings.Fields(a.asked[1])[0])
			if err != nil || perr != nil || len(got) != 1 || at < 30*time.Second || at > 40*time.Second {
				t.Errorf("%d: got %q, %v, asked %q", code, got, err, a.asked)
			}
		})
	}
}

func TestClientDoesNotHammerAServerThatSaysRetry0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []func(http.ResponseWriter, *http.Request){says("retry: 0\n"), says(""), status(204)}}
		if _, err := subscribe(t, a, sse.ClientOptions{}); err != nil || len(a.asked) != 3 || time.Since(a.start) < 20*time.Millisecond {
			t.Errorf("got %v, asked %q", err, a.asked)
		}
	})
}

func TestClientCutsAConnectionThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "id: 7\ndata: a\n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		}
		var why error
		a := &answers{list: []func(http.ResponseWriter, *http.Request){silent, status(204)}}
		got, err := subscribe(t, a, sse.ClientOptions{OnRetry: func(err error, _ time.Duration) { why = err }})
		if err != nil || !slices.Equal(got, []string{"a"}) || why == nil || !strings.Contains(why.Error(), "too long") {
			t.Errorf("got %q, %v, because of %v", got, err, why)
		}
		if took := time.Since(a.start); took < 48*time.Second || took > 49*time.Second {
			t.Errorf("took %v, want 45 s of silence and 3 s of waiting", took)
		}
	})
}

func TestClientEndsWithItsContextAndItsLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := inBubble(t, upgrade(nil, func(c *sse.Conn) {
			c.Send(sse.Event{Data: "a"})
			idle(c)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequest("GET", "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		var last error
		for _, err := range sse.Subscribe(ctx, req, &sse.ClientOptions{Client: client}) {
			last = err
			n++
		}
		if n != 2 || !errors.Is(last, context.DeadlineExceeded) {
			t.Errorf("got %d and %v, want an event and the context's error", n, last)
		}
		for e, err := range sse.Subscribe(t.Context(), req, &sse.ClientOptions{Client: client}) {
			if err != nil || e.Data != "a" {
				t.Errorf("got %+v, %v", e, err)
			}
			break
		}
	})
}

func TestClientRefusesWhatIsTooLargeForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []func(http.ResponseWriter, *http.Request){says("data: " + strings.Repeat("x", 200) + "\n\n")}}
		if _, err := subscribe(t, a, sse.ClientOptions{MaxEvent: 100}); !errors.Is(err, sse.ErrTooLarge) || len(a.asked) != 1 {
			t.Errorf("got %v after %d requests", err, len(a.asked))
		}
	})
}

func TestClientFollowsRedirectsAndSendsItsBodyAgain(t *testing.T) {
	var bodies []string
	mux := http.NewServeMux()
	mux.Handle("/old", http.RedirectHandler("/new", http.StatusTemporaryRedirect))
	mux.HandleFunc("/new", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bodies = append(bodies, r.Header.Get("Last-Event-ID")+string(b)); len(bodies) == 3 {
			w.WriteHeader(204)
			return
		}
		says("retry: 10\nid: 1\ndata: a\n\n")(w, r)
	})
	onBoth(t, mux, func(s *site) {
		bodies = nil
		req, err := http.NewRequest("POST", s.url+"/old", strings.NewReader("hello"))
		if err != nil {
			s.t.Fatal(err)
		}
		n := 0
		for _, err := range sse.Subscribe(s.t.Context(), req, &sse.ClientOptions{Client: s.client}) {
			if err != nil {
				s.t.Fatal(err)
			}
			n++
		}
		if n != 2 || !slices.Equal(bodies, []string{"hello", "1hello", "1hello"}) {
			s.t.Errorf("got %d events, bodies %q", n, bodies)
		}
	})
	req, err := http.NewRequest("POST", "http://x/", io.MultiReader(strings.NewReader("once")))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range sse.Subscribe(t.Context(), req, nil) {
		if err == nil || !strings.Contains(err.Error(), "GetBody") {
			t.Errorf("a body that can be sent once: got %v", err)
		}
	}
}
