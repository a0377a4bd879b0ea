package sse_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// closed is what a client saw last, and when.
type closed struct {
	at   time.Duration
	text string
}

func TestDrainSpreadsClosesOverTheGraceAfterAWholeEventWithARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, grace = 20, 10 * time.Second
		drain := &sse.Server{}
		p, _ := inBubble(t, upgrade(&sse.Options{Server: drain}, func(c *sse.Conn) {
			for c.Send(sse.Event{ID: "1", Data: "x"}) == nil {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-c.Context().Done():
				}
			}
		}))
		var start time.Time
		var mu sync.Mutex
		var all []closed
		var wg sync.WaitGroup
		for range clients {
			_, r := raw(t, p, "/")
			wg.Go(func() {
				text, err := io.ReadAll(r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, closed{time.Since(start), string(text)})
			})
		}
		synctest.Wait()
		if drain.Len() != clients {
			t.Errorf("%d are open, want %d", drain.Len(), clients)
		}
		start = time.Now()
		drain.Close(t.Context(), grace)
		wg.Wait()
		if took := time.Since(start); took > grace {
			t.Errorf("took %v, want %v at most", took, grace)
		}
		retries := map[int]bool{}
		for i, c := range all {
			if want := time.Duration(i) * grace / clients; c.at != want {
				t.Errorf("client %d was closed after %v, want %v", i, c.at, want)
			}
			events, last, _ := strings.Cut(c.text, "retry: ")
			ms, err := strconv.Atoi(strings.TrimSpace(last))
			if !strings.HasSuffix(events, "\n\n") || err != nil || ms < 1000 || ms > 6000 {
				t.Errorf("client %d: %q, want whole events and then a retry of 1 to 6 s", i, c.text)
			}
			retries[ms] = true
		}
		if len(retries) < clients/2 {
			t.Errorf("the retries are %d, want them random", len(retries))
		}
		if drain.Len() != 0 {
			t.Errorf("%d are open", drain.Len())
		}
	})
}

func TestWhoComesDuringADrainIsToldToComeBack(t *testing.T) {
	drain := &sse.Server{}
	drain.Close(t.Context(), time.Hour) // nobody is there: it returns at once
	onBoth(t, upgrade(&sse.Options{Server: drain}, func(*sse.Conn) { t.Error("a stream was opened") }), func(s *site) {
		res := s.get("/")
		text, err := io.ReadAll(res.Body)
		ms, bad := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(text), "retry: ")))
		if res.StatusCode != 200 || err != nil || bad != nil || ms < 1000 || ms > 2000 {
			s.t.Errorf("got %s, %q, %v, want a retry of a second or two", res.Status, text, err)
		}
	})
}

func TestDrainDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drain := &sse.Server{}
		p, _ := inBubble(t, upgrade(&sse.Options{Server: drain, WriteTimeout: time.Hour}, func(c *sse.Conn) {
			for c.Send(sse.Event{Data: "x"}) == nil {
			}
		}))
		conn, _ := raw(t, p, "/")
		synctest.Wait() // it is stuck in its first event
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		done := make(chan time.Duration)
		start := time.Now()
		go func() {
			drain.Close(ctx, time.Second)
			done <- time.Since(start)
		}()
		select {
		case took := <-done:
			if took != 5*time.Second {
				t.Errorf("took %v, want 5s", took)
			}
		case <-time.After(10 * time.Second):
			t.Error("it waits for the client after its context ended")
			conn.Close()
			<-done
		}
		conn.Close()
	})
}

func TestTooManyAreToldToComeBackAndNever503(t *testing.T) {
	drain := &sse.Server{Max: 2}
	inner, left := upgrade(&sse.Options{Server: drain}, idle), make(chan struct{}, 3)
	onBoth(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		left <- struct{}{}
	}), func(s *site) {
		a, b := s.get("/"), s.get("/")
		res := s.get("/")
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || err != nil ||
			!strings.HasPrefix(string(text), "retry: ") || res.ContentLength != -1 {
			s.t.Errorf("got %s, %q, length %d, %v, want a stream with a retry", res.Status, text, res.ContentLength, err)
		}
		if drain.Len() != 2 {
			s.t.Errorf("%d are open, want 2", drain.Len())
		}
		a.Body.Close()
		b.Body.Close()
		for range 3 {
			<-left
		}
		if drain.Len() != 0 {
			s.t.Errorf("%d are open, want none", drain.Len())
		}
	})
}

func TestBusyIsAStreamThatEndsAtOnce(t *testing.T) {
	rec, req := recorder("GET", "/", "Origin", "https://app.example.org")
	sse.Busy(rec, req, time.Second, &sse.Options{Origins: sse.Origins{Allow: []string{"https://app.example.org"}}})
	ms, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(rec.Body.String(), "retry: ")))
	if rec.Code != 200 || err != nil || ms < 1000 || ms > 2000 || rec.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("got %d, %q, %v", rec.Code, rec.Body, rec.Header())
	}
	rec, req = recorder("GET", "/", "Origin", "https://evil.example")
	if sse.Busy(rec, req, time.Second, nil); rec.Code != 403 {
		t.Errorf("another site: got %d, want 403", rec.Code)
	}
}

func TestErrorsOfABusyServer(t *testing.T) {
	rec, req := recorder("GET", "/")
	drain := &sse.Server{}
	drain.Close(t.Context(), 0)
	_, err := sse.Upgrade(rec, req, &sse.Options{Server: drain})
	if !errors.Is(err, sse.ErrBusy) || !slices.Equal(rec.Header()["Content-Type"], []string{"text/event-stream"}) {
		t.Errorf("got %v, %v", err, rec.Header())
	}
}
