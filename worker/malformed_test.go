package worker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
	"github.com/rhubarb-go/rhubarb/worker"
)

// spoilt makes messages that cannot be read from one that can: every header
// with values of every wrong kind, and parts that are cut off.
func spoilt(t *testing.T, m engine.Message) []engine.Message {
	t.Helper()
	var out []engine.Message
	add := func(change func(*engine.Message)) {
		s := m
		change(&s)
		out = append(out, s)
	}
	wrong := map[string][]string{
		"text": {"7", "true", "[]", "{}"}, "number": {`"x"`, "[]", "{}", "1.5"}, "list": {"7", `"x"`, "{}"}, "time": {`"soon"`, "[]", "true"}, "bool": {`"x"`, "[]"},
	}
	for header, kind := range map[string]string{
		"lang": "text", "task": "text", "shadow": "text", "group": "text", "root_id": "text", "parent_id": "text", "origin": "text",
		"argsrepr": "text", "kwargsrepr": "text", "compression": "text", "eta": "time", "expires": "time", "group_index": "number",
		"retries": "number", "replaced_task_nesting": "number", "timelimit": "list", "stamped_headers": "list", "ignore_result": "bool",
	} {
		for _, value := range wrong[kind] {
			add(func(s *engine.Message) { s.Headers = with(t, m.Headers, header, value) })
		}
	}
	for _, n := range []int{0, 1, len(m.Body) / 2, len(m.Body) - 1} {
		add(func(s *engine.Message) { s.Body = m.Body[:n] })
	}
	for _, n := range []int{1, len(m.Headers) / 2, len(m.Headers) - 1} {
		add(func(s *engine.Message) { s.Headers = m.Headers[:n] })
	}
	for _, kind := range []string{"application/x-python-serialize", "application/x-yaml", "application/x-msgpack", "application/data", "text/html"} {
		add(func(s *engine.Message) { s.ContentType = kind })
	}
	add(func(s *engine.Message) { s.ContentEncoding = "utf-16" })
	add(func(s *engine.Message) { s.Body = []byte(strings.Repeat("[", 100_000)) })
	add(func(s *engine.Message) { s.Properties = []byte(`{"priority": "x"}`) })
	for i := range out {
		out[i].ID = fmt.Sprintf("%s-%d", m.ID, i)
	}
	return out
}

// with sets a header.
func with(t *testing.T, headers []byte, name, value string) []byte {
	t.Helper()
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(headers, &m); err != nil {
		t.Fatal(err)
	}
	m[name] = json.RawMessage(value)
	return must(json.Marshal(m))(t)
}

// locked is a buffer that a logger and a test share.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestEveryMalformedMessageIsADeadLetter(t *testing.T) {
	files, err := filepath.Glob("../internal/celery/testdata/send-*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		var log locked
		run(t, app, &worker.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, projAdd)
		sent := 0
		for _, file := range files {
			if strings.Contains(file, "protocol-1") {
				continue
			}
			for _, m := range spoilt(t, first(t, file)) {
				if r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{{Message: m, Queue: "celery"}})[0]; r.Err != nil {
					t.Fatal(r.Err)
				}
				sent++
			}
		}
		if sent < 1000 {
			t.Fatalf("%d messages were made, want 1000 at least", sent)
		}
		time.Sleep(time.Minute)
		dead := must(app.Engines().Broker.Shelved(t.Context(), engine.Dead, "", 10_000))(t)
		parked := must(app.Engines().Broker.Shelved(t.Context(), engine.Parked, "", 10_000))(t)
		log.mu.Lock()
		logged := strings.Count(log.b.String(), "message dead-lettered")
		log.mu.Unlock()
		if len(dead) != sent || logged != sent || len(parked) != 0 {
			t.Errorf("%d dead letters, %d parked and %d lines of log of %d messages", len(dead), len(parked), logged, sent)
			for _, p := range parked[:min(3, len(parked))] {
				t.Errorf("parked: %s %s %s", p.Reason, p.Headers, p.Body)
			}
		}
		if n, err := must(projAdd.Delay(t.Context(), app, pair{1, 2}))(t).Get(t.Context()); n != 3 || err != nil {
			t.Errorf("afterwards: %d, %v; want 3", n, err)
		}
	})
}

func TestProtocol1IsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, projAdd)
		m := first(t, "../internal/celery/testdata/send-protocol-1.json")
		if r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{{Message: m, Queue: "celery"}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if out, err := app.Result(m.ID).Get(t.Context()); err != nil || string(out) == "null" {
			t.Errorf("Get = %s, %v; want a sum", out, err)
		}
	})
}

// first is the first task message of a capture.
func first(t *testing.T, file string) engine.Message {
	t.Helper()
	var doc any
	if err := json.Unmarshal(must(os.ReadFile(file))(t), &doc); err != nil {
		t.Fatal(err)
	}
	var found *engine.Message
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if m, _, _, err := celery.ParseEnvelope([]byte(v)); found == nil && err == nil && strings.HasPrefix(v, `{"body"`) {
				found = &m
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
	if found == nil {
		t.Fatalf("%s has no message", file)
	}
	return *found
}
