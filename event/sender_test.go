package event_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// heard is a message on the event exchange.
type heard struct {
	engine.Message
	events []event.Event
	at     time.Duration // since the listener began
}

func (h heard) types() string {
	var names []string
	for _, e := range h.events {
		names = append(names, e.Type)
	}
	return strings.Join(names, " ")
}

// listen collects what is sent on a topic of the event exchange, in a bubble.
func listen(t *testing.T, b engine.Broker, key string) *[]heard {
	t.Helper()
	start := time.Now()
	messages, err := b.Listen(t.Context(), engine.Topic{Exchange: "celeryev", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	all := new([]heard)
	go func() {
		for m := range messages {
			events, err := event.Decode(m.Body)
			if err != nil {
				t.Error(err)
			}
			*all = append(*all, heard{m, events, time.Since(start)})
		}
	}()
	return all
}

func newSender(t *testing.T, b engine.Broker, o event.SenderOptions) *event.Sender {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := event.NewSender(b, &o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// running runs a sender in a bubble. The function stops it.
func running(t *testing.T, s *event.Sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
	}
}

func open(t *testing.T) *memengine.Engine {
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	return e
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "worker.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", Report: func() event.Report { return event.Report{Active: 3, Processed: 7} }})
		stop := running(t, s)
		time.Sleep(5 * time.Second)
		s.Heartbeat()
		synctest.Wait()
		stop()

		var types []string
		for i, h := range *got {
			types = append(types, h.types()+" "+h.at.String())
			if e := h.events[0]; e.Hostname != "mail@host" || e.PID != os.Getpid() || e.Clock != uint64(i)+1 || e.UTCOffset != 0 {
				t.Errorf("got %+v", e)
			}
			if h.ContentType != "application/json" || h.ContentEncoding != "utf-8" || string(h.Headers) != `{"hostname":"mail@host"}` {
				t.Errorf("got %s %s %s", h.ContentType, h.ContentEncoding, h.Headers)
			}
		}
		want := []string{"worker-online 0s", "worker-heartbeat 2s", "worker-heartbeat 4s", "worker-heartbeat 5s", "worker-offline 5s"}
		if !slices.Equal(types, want) {
			t.Errorf("got %q, want %q", types, want)
		}
		if s := s.Stats(); s != (event.Stats{Sent: 5}) {
			t.Errorf("got %+v", s)
		}
	})
}

// members lists an event's members and the kinds of their values, in order.
func members(t *testing.T, doc []byte) (list []string) {
	t.Helper()
	raw, err := celery.Check(doc)
	if err != nil {
		t.Fatal(err)
	}
	err = celery.Members(raw, func(key []byte, value json.RawMessage) error {
		kind := "number"
		switch c := value[0]; {
		case c == '"' || c == '[' || c == '{' || c == 'n':
			kind = string(c)
		case strings.Contains(string(value), "."):
			kind = "float"
		}
		list = append(list, string(key)+" "+kind)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestGoldenWorkerEventsHaveTheMembersOfOurs(t *testing.T) {
	want := map[string][]string{}
	for _, m := range captured(t) {
		events, _ := event.Decode(m.body)
		for _, e := range events {
			kind := e.Type
			if e.Field("active") == nil {
				kind += " on command"
			}
			want[kind] = members(t, e.Append(nil))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "worker.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host"})
		stop := running(t, s)
		s.Heartbeat()
		time.Sleep(3 * time.Second)
		stop()
		if len(*got) != 4 {
			t.Fatalf("got %d messages, want 4", len(*got))
		}
		for i, kind := range []string{"worker-online", "worker-heartbeat on command", "worker-heartbeat", "worker-offline"} {
			if names := members(t, (*got)[i].Body); !slices.Equal(names, want[kind]) || want[kind] == nil {
				t.Errorf("%s:\n got %q\nwant %q", kind, names, want[kind])
			}
		}
		e := (*got)[0].events[0]
		if e.Text("sw_ident") != "go-rhubarb" || string(e.Field("freq")) != "2.0" || string((*got)[1].events[0].Field("freq")) != "5" {
			t.Errorf("got %s", e.Append(nil))
		}
	})
}

func TestTaskEventsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "task.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
		stop := running(t, s)
		defer stop()
		s.Send(event.TaskStarted("first"))
		synctest.Wait()
		if len(*got) != 1 || (*got)[0].at != 0 {
			t.Fatalf("got %d messages at once, want the first event, since nothing else was sent", len(*got))
		}
		for range 30 {
			s.Send(event.TaskStarted("x"))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		var sizes []int
		rest := 30
		for _, h := range *got {
			if h.Body[0] != '[' || h.at > 5*time.Millisecond {
				t.Errorf("after %v got %s, want a list, whatever its length", h.at, h.Body)
			}
			sizes = append(sizes, len(h.events))
		}
		for _, n := range sizes[1:] {
			rest -= n
		}
		// A whole batch does not wait for more.
		if sizes[0] != 1 || sizes[1] != 24 || (*got)[1].at != 0 || rest != 0 {
			t.Errorf("got batches of %v", sizes)
		}
	})
}

func TestASmallBatchWaitsALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "task.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
		stop := running(t, s)
		defer stop()
		s.Send(event.TaskStarted("a"))
		synctest.Wait()
		s.Send(event.TaskStarted("b"))
		time.Sleep(time.Millisecond)
		s.Send(event.TaskStarted("c"))
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(*got); n != 2 {
			t.Fatalf("got %d messages, want 2", n)
		}
		if h := (*got)[1]; h.types() != "task-started task-started" || h.at != 5*time.Millisecond {
			t.Errorf("got %s after %v, want b and c after 5ms", h.types(), h.at)
		}
	})
}

func TestOrderAndClockAgreeAcrossGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
		opened, err := event.New("shop-opened", json.RawMessage(`{"till": 3}`))
		if err != nil {
			t.Fatal(err)
		}
		s.Send(event.TaskStarted("a"))
		s.Send(event.TaskSucceeded("a", "1", time.Second))
		s.Send(opened)
		s.Send(event.TaskStarted("b"))
		stop := running(t, s)
		stop()
		var types []string
		var clock uint64
		for _, h := range *got {
			types = append(types, h.types())
			for _, e := range h.events {
				if e.Clock <= clock {
					t.Errorf("%s has clock %d after %d", e.Type, e.Clock, clock)
				}
				clock = e.Clock
			}
		}
		want := []string{"task-started task-succeeded", "shop-opened", "task-started", "worker-online", "worker-offline"}
		if !slices.Equal(types, want) {
			t.Errorf("got %q, want %q", types, want)
		}
	})
}

func TestTaskEventsAreSwitched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "task.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host"})
		stop := running(t, s)
		s.Send(event.TaskStarted("unheard"))
		if s.Enabled() || !s.Enable() || s.Enable() || !s.Enabled() {
			t.Error("Enable should report a change once")
		}
		s.Send(event.TaskStarted("heard"))
		synctest.Wait()
		if !s.Disable() || s.Disable() {
			t.Error("Disable should report a change once")
		}
		s.Send(event.TaskStarted("unheard"))
		stop()
		if len(*got) != 1 || (*got)[0].events[0].TaskID() != "heard" {
			t.Errorf("got %v", *got)
		}
		if n := s.Stats(); n.Sent != 3 { // online, the one, offline
			t.Errorf("got %+v", n)
		}
	})
}

func TestDropsAreCountedByCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", TaskEvents: true, Queue: 10})
		odd, err := event.New("shop-öffnet", nil)
		if err == nil {
			s.Send(odd)
		} else {
			t.Error(err)
		}
		s.Send(event.TaskFailed("a", "E()", strings.Repeat("x", 600_000)))
		for range 12 {
			s.Send(event.TaskStarted("a"))
		}
		stop := running(t, s)
		stop()
		s.Send(event.TaskStarted("late"))
		if got, want := s.Stats(), (event.Stats{Sent: 11, Full: 3, Refused: 2, Stopped: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// away is a broker whose broadcasts fail, or wait, while it is away.
type away struct {
	engine.Broker
	down chan struct{} // open while it is away
}

func (a away) Broadcast(ctx context.Context, to engine.Topic, m engine.Message) error {
	select {
	case <-a.down:
		return a.Broker.Broadcast(ctx, to, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAnEngineThatIsAwayHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "#")
		gone := away{b, make(chan struct{})}
		s := newSender(t, gone, event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
		stop := running(t, s)
		start := time.Now()
		for range 20_000 {
			s.Send(event.TaskStarted("a"))
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("Send waited %v", d)
		}
		time.Sleep(7 * time.Second) // the first message is given up after 5 s
		if n := s.Stats(); n.Sent != 0 || n.Away != 1 || n.Full != 10_000 {
			t.Errorf("away: got %+v", n)
		}
		close(gone.down)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		last := (*got)[len(*got)-1]
		if n := s.Stats(); n.Sent < 10_000 || last.types() != "worker-offline" {
			t.Errorf("back: got %+v, and %s last", n, last.types())
		}
	})
}

func TestASenderThatStopsDoesNotWaitForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, away{open(t), make(chan struct{})}, event.SenderOptions{Hostname: "mail@host", Heartbeat: time.Minute})
		stop := running(t, s)
		start := time.Now()
		stop()
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("stopped after %v, want 2s", d)
		}
		if n := s.Stats(); n != (event.Stats{Away: 2}) {
			t.Errorf("got %+v", n)
		}
	})
}

func TestABusySenderStillBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "worker.#")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
		stop := running(t, s)
		for range 9_900 {
			s.Send(event.TaskStarted("a"))
			time.Sleep(time.Millisecond)
		}
		stop()
		var at []time.Duration
		for _, h := range *got {
			at = append(at, h.at.Round(time.Second))
		}
		want := []time.Duration{0, 2 * time.Second, 4 * time.Second, 6 * time.Second, 8 * time.Second, 10 * time.Second}
		if !reflect.DeepEqual(at, want) {
			t.Errorf("got worker events at %v, want %v", at, want)
		}
	})
}

func TestAClientPublishesWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "#")
		s := newSender(t, b, event.SenderOptions{})
		sent := event.TaskSent(event.Sent{ID: "a", Name: "mail.send", Args: "()", Kwargs: "{}", Queue: "celery", Key: "celery"})
		if err := s.Publish(t.Context(), sent, sent); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a Hostname") {
			t.Errorf("Run of a client: got %v", err)
		}
		synctest.Wait()
		if len(*got) != 2 || (*got)[0].Body[0] != '{' {
			t.Fatalf("got %d messages, want each event by itself", len(*got))
		}
		if e := (*got)[1].events[0]; e.Type != "task-sent" || !strings.HasPrefix(e.Hostname, "gen") || e.Text("root_id") != "a" || e.Clock != 2 {
			t.Errorf("got %s", e.Append(nil))
		}
	})
}

func TestSenderRefuses(t *testing.T) {
	b := open(t)
	for _, c := range []struct {
		want string
		o    event.SenderOptions
	}{
		{"a heartbeat each 1ms: it must be 100ms at least", event.SenderOptions{Heartbeat: time.Millisecond}},
		{"a heartbeat each -1s", event.SenderOptions{Heartbeat: -time.Second}},
		{"a queue of -1 events", event.SenderOptions{Queue: -1}},
		{"a host name of 256 bytes", event.SenderOptions{Hostname: strings.Repeat("x", 256)}},
	} {
		if _, err := event.NewSender(b, &c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	for kind, fields := range map[string]string{"opened": "{}", "-x": "{}", "x-": "{}", "a-b": "[]", "a-c": `{"clock": 1}`, "a-d": "{"} {
		if _, err := event.New(kind, json.RawMessage(fields)); err == nil {
			t.Errorf("New(%q, %s) is accepted", kind, fields)
		}
	}
}
