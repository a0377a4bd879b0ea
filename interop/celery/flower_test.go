package celery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/interop"
)

// flower is a real Flower that watches the fleet.
type flower struct {
	*testing.T
	ctx context.Context
	url string
}

func startFlower(t *testing.T) *flower {
	need(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	cmd, err := site.pythonCommand(python, false, "-m", "celery", "-A", "tasks", "flower", "--address=127.0.0.1", "--port="+port)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "FLOWER_UNAUTHENTICATED_API=true")
	p, _, err := interop.Start(cmd, regexp.MustCompile(`Connected to redis`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &flower{T: t, ctx: ctx, url: "http://127.0.0.1:" + port}
}

// fetch gets a page, or posts a body to it.
func (f *flower) fetch(path string, body any) (status int, text []byte) {
	f.Helper()
	method, reader := http.MethodGet, io.Reader(http.NoBody)
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		method, reader = http.MethodPost, bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(f.ctx, method, f.url+path, reader)
	if err != nil {
		f.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		f.Fatal(err)
	}
	return res.StatusCode, text
}

// until asks until the answer is as wanted: Flower learns things when it hears
// of them, and tells nobody when it has.
func (f *flower) until(path string, is func(text []byte) bool) []byte {
	f.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, text := f.fetch(path, nil)
		if status == http.StatusOK && is(text) {
			return text
		}
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			f.Fatalf("%s is %d %.2000s", path, status, text)
		}
	}
}

func holds(words ...string) func([]byte) bool {
	return func(text []byte) bool {
		for _, w := range words {
			if !bytes.Contains(text, []byte(w)) {
				return false
			}
		}
		return true
	}
}

func (f *flower) json(path string, body, out any) {
	f.Helper()
	status, text := f.fetch(path, body)
	if err := json.Unmarshal(text, out); err != nil || status != http.StatusOK {
		f.Fatalf("%s is %d %.500s: %v", path, status, text, err)
	}
}

func TestFlower(t *testing.T) {
	f := startFlower(t)
	for _, k := range kinds {
		f.until("/api/workers?refresh=1", holds(k.node(false), k.node(true)))
	}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			f := &flower{T: t, ctx: f.ctx, url: f.url}
			f.worker(k)
			f.task(k, f.send(k))
			f.stops(k)
		})
	}
}

// worker checks what is shown of a worker.
func (f *flower) worker(k kind) {
	f.Helper()
	node := k.node(false)
	var all map[string]struct {
		Stats        map[string]any
		Registered   []string
		ActiveQueues []struct{ Name string } `json:"active_queues"`
	}
	f.json("/api/workers?refresh=1&workername="+url.QueryEscape(node), nil, &all)
	w := all[node]
	if w.Stats["pool"] == nil || w.Stats["broker"] == nil || w.Stats["total"] == nil {
		f.Errorf("the stats of %s are %v", node, w.Stats)
	}
	if len(w.ActiveQueues) == 0 || w.ActiveQueues[0].Name != k.queue(false) { // others may have been added
		f.Errorf("the queues of %s are %v", node, w.ActiveQueues)
	}
	if !strings.Contains(strings.Join(w.Registered, " ")+" ", "interop.add ") {
		f.Errorf("the tasks of %s are %v", node, w.Registered)
	}
	f.until("/worker/"+url.PathEscape(node), holds("Max concurrency", "Broker", "interop.add", k.queue(false)))
	f.until("/workers", holds(node))
}

// send has Flower send a task, waits for its end and returns its id.
func (f *flower) send(k kind) (id string) {
	f.Helper()
	var sent struct {
		ID string `json:"task-id"`
	}
	f.json("/api/task/async-apply/interop.add", map[string]any{"args": []int{20, 22}, "queue": k.queue(false)}, &sent)
	f.until("/api/task/info/"+sent.ID, holds(`"SUCCESS"`))
	return sent.ID
}

// task checks what is shown of a task that has succeeded.
func (f *flower) task(k kind, id string) {
	f.Helper()
	var info map[string]any
	f.json("/api/task/info/"+id, nil, &info)
	for name, want := range map[string]any{
		"name": "interop.add", "worker": k.node(false), "state": "SUCCESS", "result": "42", "args": "[20, 22]", "kwargs": "{}", "retries": 0.0,
	} {
		if info[name] != want {
			f.Errorf("the task's %s is %v, want %v", name, info[name], want)
		}
	}
	for _, name := range []string{"received", "started", "succeeded", "runtime", "timestamp"} {
		if n, _ := info[name].(float64); n <= 0 {
			f.Errorf("the task's %s is %v", name, info[name])
		}
	}
	var result struct {
		State  string
		Result any
	}
	if f.json("/api/task/result/"+id, nil, &result); result.State != "SUCCESS" || result.Result != 42.0 {
		f.Errorf("the result is %+v, want 42", result)
	}
	f.until("/api/tasks?workername="+url.QueryEscape(k.node(false)), holds(id))
	f.until("/api/task/types", holds("interop.add"))
	f.until("/task/"+id, holds("interop.add", k.node(false), "SUCCESS", "42"))
}

// stops has Flower revoke a task that runs.
func (f *flower) stops(k kind) {
	f.Helper()
	r := begin(f.T, direction{python, k}, scenario{send: gated("gated")})
	r.call = r.scenario.send(r)
	r.submit(r.call)
	r.listen(r.call, "started")
	status, text := f.fetch(fmt.Sprintf("/api/task/revoke/%s?terminate=true", r.call.ID), object{})
	if status != http.StatusOK {
		f.Fatalf("revoke is %d %s", status, text)
	}
	r.ends(r.call, end{State: "REVOKED", Error: "TaskRevokedError"})
	f.until("/api/task/info/"+r.call.ID, holds(`"REVOKED"`))
}
