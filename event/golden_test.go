package event_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/event"
)

// published is a message that a capture has on the event exchange.
type published struct {
	file string
	key  string // routing key
	host string // header hostname
	body []byte // as it was on the wire
}

// captured returns the messages of all captures, in the order of their files.
func captured(t testing.TB) (all []published) {
	t.Helper()
	files, err := filepath.Glob("testdata/[em]*-*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("captures: got %d, %v; want 15 at least", len(files), err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Commands []struct{ Argv []string }
			Messages []struct{ Channel, Raw string }
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(name, err)
		}
		for _, c := range doc.Commands {
			if len(c.Argv) == 3 && c.Argv[0] == "PUBLISH" {
				all = appendEnvelope(t, all, name, c.Argv[1], c.Argv[2])
			}
		}
		for _, m := range doc.Messages {
			all = appendEnvelope(t, all, name, m.Channel, m.Raw)
		}
	}
	return all
}

func appendEnvelope(t testing.TB, all []published, file, channel, raw string) []published {
	t.Helper()
	_, key, ok := strings.Cut(channel, ".celeryev/")
	if !ok {
		return all
	}
	var env struct {
		Body    string
		Headers struct{ Hostname string }
	}
	if err := json.Unmarshal([]byte(raw), &env); err != nil {
		t.Fatal(file, err)
	}
	body, err := base64.StdEncoding.DecodeString(env.Body)
	if err != nil {
		t.Fatal(file, err)
	}
	return append(all, published{file, key, env.Headers.Hostname, body})
}

func compact(t testing.TB, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGoldenEventsRoundTrip(t *testing.T) {
	n := 0
	for _, m := range captured(t) {
		events, err := event.Decode(m.body)
		if err != nil {
			t.Errorf("%s: %v", m.file, err)
		}
		if got := compact(t, []byte(encode(events, m.body[0] == '['))); got != compact(t, m.body) {
			t.Errorf("%s: got\n%s\nwant\n%s", m.file, got, compact(t, m.body))
		}
		for _, e := range events {
			if e.Hostname != m.host {
				t.Errorf("%s: %s from %q, the message from %q", m.file, e.Type, e.Hostname, m.host)
			}
			n++
		}
	}
	if n < 40 {
		t.Errorf("%d events in all captures, want 40 at least", n)
	}
}

func encode(events []event.Event, list bool) string {
	var b []byte
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.Append(b)
	}
	if list {
		return "[" + string(b) + "]"
	}
	return string(b)
}

// made makes with a constructor of ours what a capture has, and with it the
// common fields.
func made(t *testing.T, e event.Event) event.Event {
	t.Helper()
	at := func(name string) (at time.Time) {
		if raw := e.Field(name); string(raw) != "null" {
			if err := json.Unmarshal(raw, &at); err != nil {
				t.Fatal(err)
			}
		}
		return at
	}
	var f struct {
		Retries, Signum     int
		Runtime             float64
		Terminated, Expired any
		Requeue             bool
		Action              json.RawMessage
	}
	doc, err := json.Marshal(e)
	if err == nil {
		err = json.Unmarshal(doc, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	id, text := e.TaskID(), e.Text
	var ours event.Event
	switch e.Type {
	case "task-sent":
		ours = event.TaskSent(event.Sent{ID: id, RootID: text("root_id"), ParentID: text("parent_id"), Name: text("name"),
			Args: text("args"), Kwargs: text("kwargs"), Retries: f.Retries, ETA: at("eta"), Expires: at("expires"),
			Queue: text("queue"), Exchange: text("exchange"), Key: text("routing_key")})
	case "task-received":
		ours = event.TaskReceived(event.Taken{ID: id, Name: text("name"), Args: text("args"), Kwargs: text("kwargs"),
			RootID: text("root_id"), ParentID: text("parent_id"), Retries: f.Retries, ETA: at("eta"), Expires: at("expires")})
	case "task-started":
		ours = event.TaskStarted(id)
	case "task-succeeded":
		ours = event.TaskSucceeded(id, text("result"), time.Duration(f.Runtime*1e9))
	case "task-failed":
		ours = event.TaskFailed(id, text("exception"), text("traceback"))
	case "task-retried":
		ours = event.TaskRetried(id, text("exception"), text("traceback"))
	case "task-rejected":
		if ours = event.TaskRejected(id); f.Requeue {
			ours = event.TaskRequeued(id)
		}
	case "task-revoked":
		switch {
		case f.Terminated == true:
			ours = event.TaskTerminated(id, f.Signum)
		case f.Expired == true:
			ours = event.TaskExpired(id)
		default:
			ours = event.TaskRevoked(id)
		}
	case "worker-elect":
		if ours, err = event.WorkerElect(text("id"), text("topic"), f.Action); err != nil {
			t.Fatal(err)
		}
	case "worker-elect-ack":
		ours = event.WorkerElectAck(text("id"))
	default:
		return e // those of a heartbeat are made by a Sender
	}
	ours.Hostname, ours.PID, ours.Clock, ours.Time = e.Hostname, e.PID, e.Clock, e.Time
	return ours
}

func TestGoldenEventsAreMadeByOurConstructors(t *testing.T) {
	kinds := map[string]int{}
	for _, m := range captured(t) {
		events, err := event.Decode(m.body)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			kinds[e.Type]++
			want, got := compact(t, e.Append(nil)), compact(t, made(t, e).Append(nil))
			if e.Type == "task-succeeded" { // whose runtime is finer than ours
				want, got = rounded(t, want), rounded(t, got)
			}
			if got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", m.file, got, want)
			}
		}
	}
	for _, kind := range []string{"task-sent", "task-received", "task-started", "task-succeeded", "task-failed",
		"task-retried", "task-rejected", "task-revoked", "worker-elect", "worker-elect-ack",
		"worker-online", "worker-heartbeat", "worker-offline"} {
		if kinds[kind] == 0 {
			t.Errorf("no capture has a %s", kind)
		}
	}
}

// rounded cuts the runtime to microseconds.
func rounded(t *testing.T, doc string) string {
	t.Helper()
	before, after, ok := strings.Cut(doc, `"runtime":`)
	value, rest, ok2 := strings.Cut(after, ",")
	var runtime float64
	if err := json.Unmarshal([]byte(value), &runtime); !ok || !ok2 || err != nil {
		t.Fatalf("no runtime in %s", doc)
	}
	return before + (time.Duration(runtime*1e9+0.5) * time.Nanosecond).Round(time.Microsecond).String() + rest
}
