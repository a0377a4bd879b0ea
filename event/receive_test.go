package event_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

func tell(t *testing.T, b engine.Broker, key, contentType, body string) {
	t.Helper()
	err := b.Broadcast(t.Context(), engine.Topic{Exchange: "celeryev", Key: key}, engine.Message{
		ContentType: contentType, ContentEncoding: "utf-8", Headers: []byte(`{"hostname":"py@host"}`), Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReceiveCorrectsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, clock := open(t), new(celery.Clock)
		ctx, stop := context.WithCancel(t.Context())
		events, err := event.Receive(ctx, b, &event.ReceiveOptions{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		const json = "application/json"
		tell(t, b, "worker.heartbeat", json, `{"type":"worker-heartbeat","hostname":"a@h","clock":40,"timestamp":12.5,"utcoffset":-2.0}`)
		tell(t, b, "task.multi", json, `[{"type":"task-sent","clock":900},7,{"type":"task-x"}]`)
		tell(t, b, "task.sent", "application/x-python-serialize", "\x80\x04.")
		tell(t, b, "task.sent", json, "{")
		time.AfterFunc(time.Second, stop)
		var clocks []uint64
		var bad []string
		for e, err := range events {
			if err != nil {
				bad = append(bad, err.Error())
				continue
			}
			clocks = append(clocks, e.Clock)
			if !e.Received.Equal(time.Now()) {
				t.Errorf("%s received at %v", e.Type, e.Received)
			}
			if e.Type == "worker-heartbeat" && !e.Time.Equal(time.UnixMilli(12500)) {
				t.Errorf("got time %v, want it as it was sent", e.Time)
			}
		}
		// The heartbeat sets our clock to 41; a client's is ours less one.
		if want := []uint64{40, 40, 43}; !slices.Equal(clocks, want) || clock.Now() != 43 {
			t.Errorf("got clocks %v and %d, want %v and 43", clocks, clock.Now(), want)
		}
		want := []string{
			`event: read from "py@host": it is not a JSON object`,
			`event: read from "py@host": content type "application/x-python-serialize" is not read, set event_serializer = 'json'`,
			`event: read from "py@host": it is not valid JSON: it ends too early`,
		}
		if !slices.Equal(bad, want) {
			t.Errorf("got %q\nwant %q", bad, want)
		}
	})
}

func TestReceiveMayBeLeft(t *testing.T) {
	b := open(t)
	events, err := event.Receive(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	tell(t, b, "task.multi", "application/json", `[{"type":"a-b"},{"type":"c-d"}]`)
	for e := range events {
		if e.Type != "a-b" {
			t.Errorf("got %s", e.Type)
		}
		break
	}
}

func TestAMonitorWakesTheWorkers(t *testing.T) {
	b := open(t)
	asked, err := b.Listen(t.Context(), engine.Topic{Exchange: "celery.pidbox"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := event.Receive(t.Context(), b, &event.ReceiveOptions{Wake: true}); err != nil {
		t.Fatal(err)
	}
	for m := range asked {
		// monitor-heartbeat-command.json
		const want = `{"method":"heartbeat","arguments":{},"destination":null,"pattern":null,"matcher":null}`
		if string(m.Body) != want || !strings.HasPrefix(string(m.Headers), `{"clock":1,"expires":`) {
			t.Errorf("got %s with %s", m.Body, m.Headers)
		}
		break
	}
}

func TestGossipAcknowledgesElections(t *testing.T) {
	var elect []published
	for _, m := range captured(t) {
		if m.key == "worker.elect" {
			elect = append(elect, m)
		}
	}
	if len(elect) != 2 {
		t.Fatalf("%d elections in the captures, want 2", len(elect))
	}
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		got := listen(t, b, "worker.elect.ack")
		s := newSender(t, b, event.SenderOptions{Hostname: "mail@host"})
		stop := running(t, s)
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Gossip(ctx) }()
		synctest.Wait()
		for _, m := range elect {
			tell(t, b, m.key, "application/json", string(m.body))
		}
		tell(t, b, "worker.elect", "application/json", `{"type":"worker-elect","id":7}`)
		tell(t, b, "worker.elect", "application/json", `garbage`)
		synctest.Wait()
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
		if len(*got) != 2 {
			t.Fatalf("got %d acknowledgements, want 2", len(*got))
		}
		// Both candidates had clock 148: ours is above.
		if e := (*got)[0].events[0]; e.Type != "worker-elect-ack" || e.Text("id") != "e1" || e.Clock <= 148 {
			t.Errorf("got %s", e.Append(nil))
		}
	})
}

func TestGossipEndsWithTheEngine(t *testing.T) {
	b := open(t)
	s := newSender(t, b, event.SenderOptions{Hostname: "mail@host"})
	done := make(chan error, 1)
	go func() { done <- s.Gossip(t.Context()) }()
	b.Close()
	if err := <-done; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
