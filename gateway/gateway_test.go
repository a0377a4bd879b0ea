package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
)

func TestBadCallsAreRefusedWithAReason(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all, MaxBody: 2000})
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		path   string
		body   string
		header []string
		status int
		detail string // a part of it
	}{
		{"an unknown task", "/tasks/nope", `{}`, nil, 404, `there is no task "nope" here`},
		{"a body that is cut off", "/tasks/math.add", "{\"kwargs\":\n {\"a\": 1", nil, 400, "not JSON: unexpected end of JSON input at line 2 column 8"},
		{"a stray comma", "/tasks/math.add", "{\n\"args\": [1,]}", nil, 400, "invalid character ']' looking for beginning of value at line 2 column 12"},
		{"something after the body", "/tasks/math.add", `{} {}`, nil, 400, "after top-level value at line 1 column 4"},
		{"invalid UTF-8", "/tasks/math.add", "{\"kwargs\": {\"c\": \"\xff\"}}", nil, 400, "not UTF-8: byte 0xff at line 1 column 19"},
		{"an array", "/tasks/math.add", `[1]`, nil, 400, "not a JSON object"},
		{"null", "/tasks/math.add", `null`, nil, 400, "not a JSON object"},
		{"another content type", "/tasks/math.add", `a=1`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "send application/json"},
		{"no content type", "/tasks/math.add", `{}`, []string{"Content-Type", ""}, 415, "send application/json"},
		{"another charset", "/tasks/math.add", `{}`, []string{"Content-Type", "application/json; charset=latin1"}, 415, "in UTF-8"},
		{"a compressed body", "/tasks/math.add", `{}`, []string{"Content-Encoding", "gzip"}, 415, `"gzip" is not understood`},
		{"a large body", "/tasks/math.add", `{"args":["` + strings.Repeat("x", 2000) + `"]}`, nil, 413, "more than 2000 bytes"},
		{"an unknown part", "/tasks/math.add", `{"arguments": [1]}`, nil, 422, "arguments is not known"},
		{"a part in capitals", "/tasks/math.add", `{"Args": [1]}`, nil, 422, "Args is not known"},
		{"args that are an object", "/tasks/math.add", `{"args": {}}`, nil, 422, "args must be an array"},
		{"kwargs that are an array", "/tasks/math.add", `{"kwargs": []}`, nil, 422, "kwargs must be an object"},
		{"a missing argument", "/tasks/math.add", ``, nil, 422, "kwargs.a is required but missing"},
		{"a wrong type by name", "/tasks/math.add", `{"kwargs": {"a": "1"}}`, nil, 422, "kwargs.a must be an integer, got a string"},
		{"a wrong type by place", "/tasks/math.add", `{"args": [1, 2.5]}`, nil, 422, "args[1] must be an integer, got a number"},
		{"too many arguments", "/tasks/math.add", `{"args": [1,2,"3",4]}`, nil, 422, "args has 4 values, the task takes 3"},
		{"one argument twice", "/tasks/math.add", `{"args": [1], "kwargs": {"a": 1}}`, nil, 422, "kwargs.a is given by name and by place (args[0])"},
		{"an argument it does not have", "/tasks/math.add", `{"args": [1], "kwargs": {"z": 1}}`, nil, 422, "kwargs.z is not an argument of this task"},
		{"all that is wrong at once", "/tasks/math.add", `{"kwargs": {"b": true}, "options": {"priority": 10}}`, nil, 422, "kwargs.a is required but missing; kwargs.b must be an integer, got a boolean; options.priority must be"},
		{"no single argument", "/tasks/greet", `{}`, nil, 422, "args[0] is required but missing"},
		{"two for a single argument", "/tasks/greet", `{"args": ["a", "b"]}`, nil, 422, "have 2 values, the task takes 1"},
		{"any for a task that takes none", "/tasks/none", `{"args": [1]}`, nil, 422, "has 1 values, the task takes 0"},
		{"an unknown option", "/tasks/none", `{"options": {"contdown": 1}}`, nil, 422, "options.contdown is not known"},
		{"a negative countdown", "/tasks/none", `{"options": {"countdown": -1}}`, nil, 422, "options.countdown is negative (-1)"},
		{"a countdown in words", "/tasks/none", `{"options": {"countdown": "1m"}}`, nil, 422, "must be a number of seconds"},
		{"an endless countdown", "/tasks/none", `{"options": {"countdown": 1e300}}`, nil, 422, "is too large"},
		{"an eta without a zone", "/tasks/none", `{"options": {"eta": "2030-01-01T00:00:00"}}`, nil, 422, "options.eta must be a time in RFC 3339"},
		{"countdown and eta", "/tasks/none", `{"options": {"countdown": 1, "eta": "2030-01-01T00:00:00Z"}}`, nil, 422, "are both given"},
		{"expiry at once", "/tasks/none", `{"options": {"expires": 0}}`, nil, 422, "would expire before it can start"},
		{"expiry before eta", "/tasks/none", `{"options": {"eta": "2030-01-01T00:00:00Z", "expires": "2029-01-01T00:00:00Z"}}`, nil, 422, "before its ETA"},
		{"a long id", "/tasks/none", `{"options": {"task_id": "` + long + `"}}`, nil, 422, "options.task_id has 256 bytes, it needs 1 to 255"},
		{"a long queue", "/tasks/none", `{"options": {"queue": "` + long + `"}}`, nil, 422, "options.queue has 256 bytes, it needs 1 to 200"},
		{"a header of the protocol's", "/tasks/none", `{"options": {"headers": {"id": "x"}}}`, nil, 422, `header "id" belongs to the protocol`},
		{"a header that is no text", "/tasks/none", `{"options": {"headers": {"a": 1}}}`, nil, 422, "must be an object of strings"},
		{"a negative time limit", "/tasks/none", `{"options": {"time_limit": -3}}`, nil, 422, "options.time_limit is negative"},
		{"an empty idempotency key", "/tasks/none", ``, []string{"Idempotency-Key", `""`}, 400, "Idempotency-Key"},
		{"a long idempotency key", "/tasks/none", ``, []string{"Idempotency-Key", long}, 400, "Idempotency-Key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			expectProblem(t, s.do("POST", c.path, c.body, c.header...), c.status, c.detail)
		})
	}
	if infos, err := s.app.Engines().Broker.Queues(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("queues after nothing but refused calls: got %v, %v, want none", infos, err)
	}
}

func expectProblem(t *testing.T, res answer, status int, detail string) {
	t.Helper()
	var p struct {
		Title  string
		Status int
		Detail string
	}
	if err := json.Unmarshal([]byte(res.body), &p); err != nil {
		t.Fatalf("body %q: %v", res.body, err)
	}
	if res.StatusCode != status || p.Status != status || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, detail) {
		t.Errorf("got %d %+v, want %d with %q", res.StatusCode, p, status, detail)
	}
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type: got %q", got)
	}
}

func TestBadRequestsAreRefusedWithAReason(t *testing.T) {
	s := open(t, gateway.Options{})
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name, method, path string
		header             []string
		status             int
		detail             string
	}{
		{"nothing there", "GET", "/nope", nil, 404, "there is nothing at /nope"},
		{"a method that is not", "PUT", "/tasks/x", nil, 405, "PUT does nothing"},
		{"revoke by GET", "GET", "/tasks/x/revoke", nil, 405, "GET does nothing"},
		{"a long id", "GET", "/tasks/" + long, nil, 400, "the task id has 256 bytes"},
		{"a long id to revoke", "POST", "/tasks/" + long + "/revoke", nil, 400, "the task id has 256 bytes"},
		{"an id that is not UTF-8", "GET", "/tasks/%ff", nil, 400, "of UTF-8"},
		{"a long name", "POST", "/tasks/" + long, nil, 422, "the name has 256 bytes"},
		{"a name with spaces", "POST", "/tasks/a%20b", nil, 422, "spaces, control characters"},
		{"a wait that is none", "GET", "/tasks/x?wait=soon", nil, 400, "wait=soon is not a duration"},
		{"a negative wait", "GET", "/tasks/x?wait=-1s", nil, 400, "wait=-1s is not a duration"},
		{"a page of another site", "POST", "/tasks/x", []string{"Sec-Fetch-Site", "cross-site"}, 403, "a page of another site"},
		{"an old browser on another site", "POST", "/tasks/x/revoke", []string{"Origin", "https://evil.example"}, 403, "a page of another site"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			res := s.do(c.method, c.path, "", c.header...)
			expectProblem(t, res, c.status, c.detail)
			if allow := res.Header.Get("Allow"); (c.status == 405) != (allow != "") {
				t.Errorf("Allow: got %q with %d", allow, c.status)
			}
		})
	}
}

func TestCallRunsAndItsStateIsShown(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	for _, c := range []struct {
		name, task, body string
		want             gateway.State
	}{
		{"by name", "math.add", `{"kwargs": {"a": 1, "b": 2}}`, gateway.State{Status: "SUCCESS", Result: json.RawMessage("3")}},
		{"by place", "math.add", `{"args": [40, 2]}`, gateway.State{Status: "SUCCESS", Result: json.RawMessage("42")}},
		{"with all parts null", "none", `{"args": null, "kwargs": null, "options": null}`, gateway.State{Status: "SUCCESS", Result: json.RawMessage("null")}},
		{"without a body", "none", ``, gateway.State{Status: "SUCCESS", Result: json.RawMessage("null")}},
		{"under any name", "greet", `{"kwargs": {"name": "Ada"}}`, gateway.State{Status: "SUCCESS", Result: json.RawMessage(`"hello Ada"`)}},
		{"and fails", "fail", ``, gateway.State{Status: "FAILURE", Error: &gateway.StateError{Message: "no luck"}}},
		{"with options", "math.add", `{"args": [1], "options": {"countdown": 0, "priority": 3, "headers": {"trace": "x"}, "expires": 60, "soft_time_limit": 1.5, "time_limit": 2, "ignore_result": true}}`,
			gateway.State{Status: "IGNORED"}}, // nothing is kept of it
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			got := s.state(s.call(c.task, c.body))
			if got.Status != c.want.Status || string(got.Result) != string(c.want.Result) || !got.Ready || got.Attempt != 1 || got.Updated == nil || (got.DateDone == "") != (c.want.Status == "IGNORED") {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if c.want.Error != nil && (got.Error == nil || got.Error.Message != c.want.Error.Message) {
				t.Errorf("error: got %+v, want %+v", got.Error, c.want.Error)
			}
		})
	}
}

func TestUnknownTaskIsPending(t *testing.T) {
	s := open(t, gateway.Options{})
	if got := s.state0("nobody-knows"); got.Status != engine.Pending || got.Ready {
		t.Errorf("got %+v, want PENDING", got)
	}
}

func (s *site) state0(id string) (got gateway.State) {
	s.t.Helper()
	res := s.do("GET", "/tasks/"+id, "")
	if err := json.Unmarshal([]byte(res.body), &got); err != nil || res.StatusCode != 200 {
		s.t.Fatalf("got %d %s", res.StatusCode, res.body)
	}
	return got
}

func TestDefaultsOfAKnownTaskHold(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.call("elsewhere", "")
	s.call("elsewhere", `{"options": {"queue": "third"}}`)
	infos, err := s.app.Engines().Broker.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready := map[string]int{}
	for _, q := range infos {
		ready[q.Name] = q.Ready
	}
	if ready["other"] != 1 || ready["third"] != 1 || ready["celery"] != 0 {
		t.Errorf("ready by queue: got %v, want one in other and one in third", ready)
	}
}

func TestUnknownTasksMayBeAllowed(t *testing.T) {
	s := open(t, gateway.Options{})
	s.call("somewhere.else", `{"args": [1, {"x": [2]}]}`)
	s = open(t, gateway.Options{Tasks: all, Unknown: gateway.UnknownAllow})
	s.call("somewhere.else", "")
	s = open(t, gateway.Options{Unknown: gateway.UnknownRefuse})
	expectProblem(t, s.do("POST", "/tasks/somewhere.else", ""), 404, "there is no task")
}

func TestIdempotencyKeyMakesCallsOne(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	first := s.do("POST", "/tasks/none", "", "Idempotency-Key", "order-7")
	second := s.do("POST", "/tasks/none", "", "Idempotency-Key", `"order-7"`)
	if first.body != second.body || second.StatusCode != 202 || second.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("second call: got %d %s, want 202 %s", second.StatusCode, second.body, first.body)
	}
	if a, b := first.Header.Get("Idempotency-Replayed"), second.Header.Get("Idempotency-Replayed"); a != "" || b != "true" {
		t.Errorf("Idempotency-Replayed: got %q and %q, want none and true", a, b)
	}
	if other := s.do("POST", "/tasks/none", "", "Idempotency-Key", "order-8"); other.body == first.body {
		t.Errorf("another key got the same task %s", other.body)
	}
}

func TestRevokeStopsARunningTask(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	id := s.call("block", "")
	running, _ := s.events(id, "")
	if e, err := running.Next(); err != nil || e.Type != "reset" {
		t.Fatalf("got %+v, %v, want the reset that opens an attempt", e, err)
	}
	if res := s.do("POST", "/tasks/"+id+"/revoke", ""); res.StatusCode != 202 {
		t.Fatalf("revoke: got %d %s", res.StatusCode, res.body)
	}
	if got := s.state(id); got.Status != engine.Revoked {
		t.Errorf("got %+v, want REVOKED", got)
	}
}

func TestWaitIsBounded(t *testing.T) {
	s := open(t, gateway.Options{MaxWait: 20 * time.Millisecond})
	start := time.Now()
	if got := s.state("never"); got.Status != engine.Pending || time.Since(start) > 10*time.Second {
		t.Errorf("got %+v after %v, want PENDING after about 20ms", got, time.Since(start))
	}
}

func TestDrainEndsLongPolls(t *testing.T) {
	s := open(t, gateway.Options{})
	s.g.Drain(t.Context(), 0)
	s.g.Drain(t.Context(), 0)
	if got := s.state("never"); got.Status != engine.Pending {
		t.Errorf("got %+v, want PENDING at once", got)
	}
	if res := s.do("GET", "/readyz", ""); res.StatusCode != 503 || !strings.Contains(res.body, "shutting down") {
		t.Errorf("readyz: got %d %s, want 503", res.StatusCode, res.body)
	}
}

func TestTokenIsNeededButForHealth(t *testing.T) {
	s := open(t, gateway.Options{Token: "sesame"})
	for _, path := range []string{"/tasks/x", "/tasks/x/events", "/openapi.json", "/metrics", "/tasks/x?access_token=sesame"} {
		res := s.do("GET", path, "", "Authorization", "Bearer sesam")
		expectProblem(t, res, 401, "Authorization: Bearer")
		if !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate", path)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := s.do("GET", path, ""); res.StatusCode != 200 {
			t.Errorf("%s: got %d %s, want 200 without a token", path, res.StatusCode, res.body)
		}
	}
	if res := s.do("GET", "/tasks/x", "", "Authorization", "bearer sesame"); res.StatusCode != 200 {
		t.Errorf("with the token: got %d %s", res.StatusCode, res.body)
	}
}

func TestAnotherSiteMayReadWhenAllowed(t *testing.T) {
	s := open(t, gateway.Options{Origins: []string{"https://app.example.org"}})
	res := s.do("POST", "/tasks/x", "", "Origin", "https://app.example.org", "Sec-Fetch-Site", "cross-site")
	if res.StatusCode != 202 || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example.org" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	res = s.do("OPTIONS", "/tasks/x", "", "Origin", "https://app.example.org", "Access-Control-Request-Method", "POST")
	if res.StatusCode != 204 || !strings.Contains(res.Header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("preflight: got %d %v", res.StatusCode, res.Header)
	}
	res = s.do("GET", "/tasks/x", "", "Origin", "https://evil.example")
	if res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("Vary") != "Origin" {
		t.Errorf("another origin: got %v", res.Header)
	}
}

func TestOnlyItsOwnNamesMayBeAsked(t *testing.T) {
	s := open(t, gateway.Options{Hosts: []string{"localhost", "::1"}})
	for host, status := range map[string]int{"localhost:80": 200, "LOCALHOST": 200, "[::1]:8080": 200, "127.0.0.1": 421, "evil.example:8080": 421} {
		r := httptest.NewRequest("GET", "/tasks/x", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.g.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("host %s: got %d %s, want %d", host, w.Code, w.Body, status)
		}
	}
	if res := s.do("GET", "/readyz", ""); res.StatusCode != 200 {
		t.Errorf("readyz by address: got %d, want 200", res.StatusCode)
	}
}

func TestReadyMeansThatAWorkerBeats(t *testing.T) {
	var beaten time.Time
	s := open(t, gateway.Options{Beaten: func() time.Time { return beaten }})
	for _, c := range []struct {
		beaten time.Time
		status int
		text   string
	}{
		{time.Time{}, 503, "has not reached the engine yet"},
		{time.Now().Add(-11 * time.Second), 503, "last reached the engine 11s ago"},
		{time.Now(), 200, `"ok"`},
	} {
		beaten = c.beaten
		if res := s.do("GET", "/readyz", ""); res.StatusCode != c.status || !strings.Contains(res.body, c.text) {
			t.Errorf("beaten %v: got %d %s, want %d %s", c.beaten, res.StatusCode, res.body, c.status, c.text)
		}
	}
}

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	s := open(t, gateway.Options{})
	for _, c := range []struct {
		opts gateway.Options
		want string
	}{
		{gateway.Options{Origins: []string{"app.example.org"}}, `origin "app.example.org"`},
		{gateway.Options{Prefix: "api/"}, "prefix"},
		{gateway.Options{MaxBody: -1}, "negative"},
		{gateway.Options{Tasks: append(all[:1:1], add)}, `two tasks are named "math.add"`},
	} {
		if _, err := gateway.New(s.app, &c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v): got %v, want an error with %q", c.opts, err, c.want)
		}
	}
}

// full is an engine that has no room.
type full struct{ *memengine.Engine }

func (full) Publish(_ context.Context, pubs []engine.Publication) []engine.Receipt {
	return slices.Repeat([]engine.Receipt{{Err: fmt.Errorf("the disk is full: %w", engine.ErrFull)}}, len(pubs))
}

func TestAFullDiskIsInsufficientStorage(t *testing.T) {
	e := memengine.New()
	defer e.Close()
	s := openOn(t, engine.All(full{e}), gateway.Options{})
	res := s.do("POST", "/tasks/x", "")
	expectProblem(t, res, http.StatusInsufficientStorage, "the disk is full")
	if res.Header.Get("Retry-After") == "" {
		t.Error("the answer does not say when to come back")
	}
}
