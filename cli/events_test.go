package cli_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
)

// told sends an event as a Python worker does.
func (s *shell) told(key, body string) {
	s.t.Helper()
	err := s.engine.Broker.Broadcast(s.t.Context(), engine.Topic{Exchange: "celeryev", Key: key}, engine.Message{
		ContentType: "application/json", ContentEncoding: "utf-8", Headers: []byte(`{"hostname": "py@h"}`), Body: []byte(body)})
	if err != nil {
		s.t.Fatal(err)
	}
}

// events runs the subcommand until the test ends, once it listens.
func (s *shell) events(args ...string) (out, errs *buffer) {
	s.t.Helper()
	heard, err := s.engine.Broker.Listen(s.t.Context(), engine.Topic{Exchange: "celery.pidbox"})
	if err != nil {
		s.t.Fatal(err)
	}
	out, errs = watched(), watched()
	s.until("events", func(ctx context.Context) error {
		s.p.Run(ctx, append([]string{"events"}, args...), out, errs)
		return nil
	})
	for range heard { // it asks for heartbeats as soon as it listens
		return out, errs
	}
	return out, errs
}

const received = `[{"hostname": "py@h", "utcoffset": 0, "pid": 7, "clock": 7, "uuid": "a1", "name": "proj.add", "args": "(2, 3)", "eta": null, "timestamp": 1795420523.8400161, "type": "task-received"}]`

func TestEventsInALine(t *testing.T) {
	s := open(t)
	out, errs := s.events()
	s.told("task.multi", received)
	s.told("task.multi", `[{"hostname": "py@h", "clock": 8, "uuid": "a1", "traceback": "one\ntwo\u001b", "timestamp": 1795420524, "type": "task-failed"}]`)
	s.told("worker.heartbeat", `{"hostname": "py@h", "loadavg": [0.5, 1.0], "timestamp": 1795420525, "type": "worker-heartbeat"}`)
	s.told("x", "garbage")
	errs.has(t, `event: read from \"py@h\": it is not valid JSON`)
	want := "py@h [2026-11-23 07:55:23.840016] task received: proj.add(a1) args=(2, 3)\n" +
		`py@h [2026-11-23 07:55:24.000000] task failed: proj.add(a1) traceback="one\ntwo\x1b"` + "\n" +
		"py@h [2026-11-23 07:55:25.000000] heartbeat loadavg=[0.5, 1.0]\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEventsAsJSONOfSomeTypes(t *testing.T) {
	s := open(t)
	out, _ := s.events("--json", "--type", "task-*", "--type", "worker-o*")
	sender, err := event.NewSender(s.engine.Broker, &event.SenderOptions{Hostname: "go@h"})
	if err != nil {
		t.Fatal(err)
	}
	s.told("worker.heartbeat", `{"type": "worker-heartbeat"}`)
	s.told("task.multi", received)
	s.until("sender", sender.Run)
	lines := strings.SplitAfter(out.has(t, "worker-online"), "\n")
	head, tail := `{"hostname":"py@h","utcoffset":0,"pid":7,"clock":7,"uuid":"a1","name":"proj.add",`, "\n"
	if !strings.HasPrefix(lines[0], head) || !strings.Contains(lines[0], `"local_received":`) || !strings.HasSuffix(lines[0], tail) {
		t.Errorf("got %s", lines[0])
	}
	if !strings.HasPrefix(lines[1], `{"hostname":"go@h"`) {
		t.Errorf("got %s", lines[1])
	}
	s.want(2, "", "app: --type \"[a\" is not a pattern such as 'task-*': syntax error in pattern\n", "events", "--type", "[a")
}
