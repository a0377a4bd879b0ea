package control

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

func TestEveryCommandOfCeleryIsThere(t *testing.T) {
	// celery 5.6.2: sorted(celery.worker.control.Panel.data)
	want := strings.Fields(`active active_queues add_consumer autoscale cancel_consumer clock conf disable_events dump_active
		dump_conf dump_reserved dump_revoked dump_schedule dump_tasks election enable_events heartbeat hello memdump memsample
		objgraph ping pool_grow pool_restart pool_shrink query_task rate_limit registered report reserved revoke
		revoke_by_stamped_headers revoked scheduled shutdown stats terminate time_limit`)
	if got := slices.Sorted(maps.Keys(panel)); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCommandsAnswer(t *testing.T) {
	start := 1.5
	for _, c := range []struct{ method, args, want, told string }{
		{"ping", `{"anything":1}`, `{"ok":"pong"}`, ""},
		{"ping", `null`, `{"ok":"pong"}`, ""},
		{"ping", `[1]`, `{"error":"TypeError('ping() argument after ** must be a mapping')"}`, ""},
		{"report", `{"x":1}`, `{"error":"TypeError(\"report() got an unexpected keyword argument 'x'\")"}`, ""},
		{"revoke", `{}`, `{"error":"TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"}`, ""},
		{"election", `{}`, `{"error":"TypeError(\"election() missing 2 required positional arguments: 'id' and 'topic'\")"}`, ""},
		{"election", `{"id":"a","topic":"task"}`, `null`, ""},
		{"revoke", `{"task_id":"a"}`, `{"ok":"tasks {'a'} flagged as revoked"}`, "revoke [a]"},
		{"revoke", `{"task_id":["it's","a","a"]}`, `{"ok":"tasks {'a', \"it's\"} flagged as revoked"}`, "revoke [a it's]"},
		{"revoke", `{"task_id":[]}`, `{"ok":"tasks set() flagged as revoked"}`, "revoke []"},
		{"revoke", `{"task_id":7}`, `{"error":"TypeError('task_id must be a string or a list of strings')"}`, ""},
		{"revoke", `{"task_id":["run","x"],"terminate":true,"signal":"KILL"}`, `{"ok":"terminate: run"}`, "revoke [run x]"},
		{"terminate", `{"task_id":"run","signal":"KILL"}`, `{"ok":"terminate: run"}`, "revoke [run]"},
		{"terminate", `{"task_id":"x","signal":9}`, `{"ok":"terminate: tasks unknown"}`, "revoke [x]"},
		{"revoke_by_stamped_headers", `{"headers":["of=a=b"]}`, `{"ok":"headers {'of': 'a'} flagged as revoked, but not terminated"}`, ""},
		{"revoke_by_stamped_headers", `{"headers":["of"]}`, `{"error":"IndexError('list index out of range')"}`, ""},
		{"revoke_by_stamped_headers", `{"headers":{"of":"z"},"terminate":true}`, `{"ok":"headers {'of': 'z'} were not terminated"}`, ""},
		{"revoke_by_stamped_headers", `{"headers":{"of":["a","z"]},"terminate":true}`, `{"ok":"headers defaultdict(<class 'set'>, {'of': {'a'}}) revoked"}`, "revoke [run]"},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":"30/m"}`, `{"ok":"new rate limit set successfully"}`, "rate proj.add 0.5 30/m"},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":5}`, `{"ok":"new rate limit set successfully"}`, "rate proj.add 5 5"},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":null}`, `{"ok":"rate limit disabled successfully"}`, "rate proj.add 0 "},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":"0"}`, `{"ok":"rate limit disabled successfully"}`, "rate proj.add 0 0"},
		{"rate_limit", `{"task_name":"nope","rate_limit":"1"}`, `{"error":"unknown task"}`, "rate nope 1 1"},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":"fast"}`, `{"error":"Invalid rate limit string: ValueError(\"could not convert string to float: 'fast'\")"}`, ""},
		{"rate_limit", `{"task_name":"proj.add","rate_limit":"5/d"}`, `{"error":"KeyError('d')"}`, ""},
		{"time_limit", `{"task_name":"proj.add","soft":1.5,"hard":null}`, `{"ok":"time limits set successfully"}`, "limits proj.add 1.5s 0s"},
		{"time_limit", `{"task_name":"proj.add","soft":-1}`, `{"error":"ValueError('soft is not a number of seconds')"}`, ""},
		{"time_limit", `{}`, `{"error":"unknown task"}`, "limits  0s 0s"},
		{"pool_grow", `{}`, `{"ok":"pool will grow"}`, "resize 1"},
		{"pool_grow", `{"n":1e300}`, `{"error":"ValueError('n must be a whole number of at most 1048576')"}`, ""},
		{"pool_shrink", `{"n":2}`, `{"error":"ValueError('the pool is as small as it can be')"}`, ""},
		{"pool_restart", `{}`, `{"error":"ValueError('Pool restarts not enabled')"}`, ""},
		{"objgraph", `{}`, `{"error":"ImportError('Requires the objgraph library')"}`, ""},
		{"dump_active", `{"safe":true}`, `[{"id":"run","name":"","args":"(1,)","kwargs":"{}","type":"","hostname":"","time_start":1.5,"acknowledged":false,"delivery_info":{"exchange":"","routing_key":"","priority":0,"redelivered":false},"worker_pid":null}]`, ""},
		{"dump_tasks", `{"builtins":true,"taskinfoitems":["rate_limit"]}`, ``, ""},
		{"dump_schedule", `{}`, `[]`, ""},
		{"dump_revoked", `{}`, `[]`, ""},
		{"heartbeat", `{}`, `null`, ""},
		{"hello", `{"from_node":"celery@host"}`, `null`, ""},
		{"conf", `{}`, `{"broker_url":"redis://:********@127.0.0.1:7301/5","result_backend":"redis://127.0.0.1:7301/5","security_key":"********"}`, ""},
		{"dump_conf", `{"with_defaults":true}`, `{"broker_url":"redis://:********@127.0.0.1:7301/5","result_backend":"redis://127.0.0.1:7301/5","security_key":"********","worker_concurrency":100}`, ""},
	} {
		t.Run(c.method+" "+c.args, func(t *testing.T) {
			d := newDesk()
			d.held = []Held{{Invocation: Invocation{ID: "run", TimeStart: &start}, ArgsRepr: "(1,)", KwargsRepr: "{}", Stamps: map[string][]string{"of": {"a"}}}}
			_, eng := serve(t, d)
			replies, err := client(t, eng, Options{Limit: 1}).Call(t.Context(), Command{c.method, json.RawMessage(c.args)})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(replies[nodeName]); c.want != "" && got != c.want {
				t.Errorf("answers %s\nwant    %s", got, c.want)
			}
			if got := strings.Join(d.heard(), "; "); got != c.told {
				t.Errorf("the node was told %q, want %q", got, c.told)
			}
		})
	}
}

func TestEventsAreSwitched(t *testing.T) {
	d := newDesk()
	_, eng := serve(t, d)
	c := client(t, eng, Options{Limit: 1})
	for _, step := range []struct {
		cmd  Command
		want string
	}{
		{EnableEvents(), "task events already enabled"},
		{DisableEvents(), "task events disabled"},
		{DisableEvents(), "task events already disabled"},
		{EnableEvents(), "task events enabled"},
		{Heartbeat(), ""},
	} {
		replies, err := c.Call(t.Context(), step.cmd)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := replies.OK(); err != nil || got[nodeName] != step.want {
			t.Errorf("%s: %q, %v; want %q", step.cmd.Method, got[nodeName], err, step.want)
		}
	}
	if d.events.beats != 1 {
		t.Errorf("%d heartbeats, want 1", d.events.beats)
	}
	mute := newDesk()
	mute.events = nil
	_, eng = serve(t, mute)
	replies, err := client(t, eng, Options{Limit: 1}).Call(t.Context(), EnableEvents())
	if err != nil {
		t.Fatal(err)
	}
	var failed *NodeError
	if _, err := replies.OK(); !errors.As(err, &failed) || failed.Node != nodeName || failed.Text != "event dispatcher unavailable" {
		t.Errorf("without events: %v", err)
	}
}

func TestOnlyThoseWhoAreMeantAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := memengine.New()
		t.Cleanup(func() { eng.Close() })
		for _, n := range []string{"a@one", "b@one", "a@two"} {
			serveOn(t, eng, n, newDesk())
		}
		for _, c := range []struct {
			o    Options
			want string
		}{
			{Options{}, "a@one a@two b@one"},
			{Options{Nodes: []string{"a@one", "c@one"}}, "a@one"},
			{Options{Pattern: "a@*"}, "a@one a@two"},
			{Options{Pattern: "?@one"}, "a@one b@one"},
			{Options{Pattern: "[!a]@*"}, "b@one"},
			{Options{Pattern: `a@t\w+`, Matcher: PCRE}, "a@two"},
			{Options{Pattern: `a`, Matcher: PCRE}, "a@one a@two"},
			{Options{Pattern: `two`, Matcher: PCRE}, ""},
		} {
			c.o.Timeout = time.Second
			start := time.Now()
			up, err := client(t, eng, c.o).Ping(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(slices.Sorted(maps.Keys(up)), " "); got != c.want {
				t.Errorf("%+v: %q answered, want %q", c.o, got, c.want)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("%+v took %v, want 1s", c.o, took)
			}
		}
	})
}

func TestAPatternThatCannotBeUsedIsAnswered(t *testing.T) {
	s, eng := serve(t, newDesk())
	before := s.Requests()
	for pattern, matcher := range map[string]Matcher{`(?=a)`: PCRE, `(a)\1`: PCRE, strings.Repeat("a", 1001): Glob} {
		replies, err := client(t, eng, Options{Pattern: pattern, Matcher: matcher, Limit: 1}).Call(t.Context(), Command{Method: "ping"})
		if _, failed := replies.OK(); err != nil || failed == nil {
			t.Errorf("%.20q: %s, %v; want an error of the node", pattern, replies, err)
		}
	}
	if got := s.Requests() - before; got != 3 {
		t.Errorf("%d requests counted, want 3", got)
	}
}

func TestLimitEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := memengine.New()
		t.Cleanup(func() { eng.Close() })
		serveOn(t, eng, "a@one", newDesk())
		serveOn(t, eng, "b@one", newDesk())
		start := time.Now()
		c := client(t, eng, Options{Timeout: time.Hour, Limit: 1})
		up, err := c.Ping(t.Context())
		if err != nil || len(up) != 1 || time.Since(start) != 0 {
			t.Errorf("limit 1: %v, %v after %v", up, err, time.Since(start))
		}
		up, err = c.To("a@one", "b@one").Ping(t.Context())
		if err != nil || len(up) != 2 || time.Since(start) != 0 {
			t.Errorf("two named: %v, %v after %v", up, err, time.Since(start))
		}
	})
}

func TestServersTellEachOtherWhatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := memengine.New()
		t.Cleanup(func() { eng.Close() })
		first := serveOn(t, eng, "a@one", newDesk())
		first.clock.Adjust(1000)
		if err := client(t, eng, Options{}).Cast(t.Context(), Revoke("r1", "r2")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		second := serveOn(t, eng, "b@one", newDesk())
		synctest.Wait()
		if !second.Revoked("r1") || !second.Revoked("r2") || second.Revoked("r3") {
			t.Error("the second server does not know what the first had revoked")
		}
		if now := second.clock.Now(); now < 1000 {
			t.Errorf("the second server's clock is at %d, want past the first one's 1000", now)
		}
		time.Sleep(keepRevoked)
		if second.Revoked("r1") {
			t.Error("the id is still remembered after three hours")
		}
	})
}

func TestHelloSaysFloats(t *testing.T) {
	s, eng := serve(t, newDesk())
	s.revoked.add("r1")
	replies, err := client(t, eng, Options{Limit: 1}).Call(t.Context(), Command{"hello", json.RawMessage(`{"from_node":"x@y","revoked":{"r2":[7.5,"r2"],"r3":9.5}}`)})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Revoked map[string][2]json.RawMessage
	}
	if err := json.Unmarshal(replies[nodeName], &got); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"r1", "r2", "r3"} {
		if pair := got.Revoked[id]; !strings.Contains(string(pair[0]), ".") || string(pair[1]) != `"`+id+`"` {
			t.Errorf("%s: %s; want [float, id]", id, pair)
		}
	}
}

// From 5.7 on Celery sends the ids alone, before that {id: [time, id]}.
// celery/worker/state.py merge_revoked.
func TestHelloHearsBothForms(t *testing.T) {
	for _, revoked := range []string{`["r1","r2"]`, `{"r1":[7.5,"r1"],"r2":9.5}`, `[]`, `{}`, `null`} {
		s, eng := serve(t, newDesk())
		replies, err := client(t, eng, Options{Limit: 1}).Call(t.Context(), Command{"hello", json.RawMessage(`{"from_node":"x@y","revoked":` + revoked + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		if raw := string(replies[nodeName]); !strings.Contains(raw, `"clock"`) {
			t.Errorf("hello with %s is answered by %s", revoked, raw)
		}
		if want := strings.Contains(revoked, "r1"); s.Revoked("r1") != want || s.Revoked("r2") != want {
			t.Errorf("after %s r1 is revoked: %v, r2: %v; want %v", revoked, s.Revoked("r1"), s.Revoked("r2"), want)
		}
		var ids revokedIDs
		if err := json.Unmarshal([]byte(revoked), &ids); err != nil {
			t.Errorf("a reply with %s: %v", revoked, err)
		}
	}
	var ids revokedIDs
	for _, bad := range []string{`7`, `[7]`, `"r1"`} {
		if err := json.Unmarshal([]byte(bad), &ids); err == nil {
			t.Errorf("%s is read as %v", bad, ids)
		}
	}
}

func TestGarbageIsCountedAndAnsweredWhereItCanBe(t *testing.T) {
	s, eng := serve(t, newDesk())
	to := `"reply_to":{"exchange":"reply.celery.pidbox","routing_key":"k"},"ticket":"t"`
	before := s.Malformed()
	bad := []engine.Message{
		{},
		{Body: []byte(`[]`)},
		{Body: []byte(`{"method":"ping"`)},
		{Body: []byte(`{"method":"ping","reply_to":{"exchange":"celery","routing_key":"celery"}}`)},
		{Body: []byte(`{"method":"ping","reply_to":{"exchange":"reply.celery.pidbox","routing_key":"a b"}}`)},
		{Body: []byte(`{"method":"ping","reply_to":7}`)},
		{Body: []byte(`{"method":"ping","destination":[1]}`)},
		{Body: []byte(`{"method":"ping","ticket":"` + strings.Repeat("t", 2000) + `"}`)},
		{Body: []byte("\x80\x04K\x01."), ContentType: "application/x-python-serialize"},
		{Body: []byte(`{` + to + `}`), Headers: []byte(`{"clock":-1}`)},
		{Body: []byte(`{"method":["ping"],` + to + `}`), Headers: []byte(`[`)},
	}
	replies, err := eng.Listen(t.Context(), topicReplies("k"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range bad {
		if err := eng.Broadcast(t.Context(), topicRequests, m); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for m := range replies {
		if got, want := string(m.Body), `{"celery@host":{"error":"TypeError(\"dispatch() missing 1 required positional argument: 'method'\")"}}`; got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
		if n++; n == 2 {
			break
		}
	}
	if got := s.Malformed() - before; got != uint64(len(bad)) {
		t.Errorf("%d counted as malformed, want %d", got, len(bad))
	}
}

func TestAReplyThatIsTooLargeSaysSo(t *testing.T) {
	d := newDesk()
	d.held = []Held{{Invocation: Invocation{ID: "x", Args: json.RawMessage(`"` + strings.Repeat("a", engine.MaxMessage) + `"`)}}}
	_, eng := serve(t, d)
	_, err := client(t, eng, Options{Limit: 1}).Reserved(t.Context())
	if err == nil || !strings.Contains(err.Error(), "at most 1000000 are carried") {
		t.Errorf("got %v", err)
	}
}

func TestShutdownIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		_, eng := serve(t, d)
		replies, err := client(t, eng, Options{Timeout: time.Second}).Call(t.Context(), Shutdown())
		if err != nil || len(replies) != 0 {
			t.Errorf("got %s, %v", replies, err)
		}
		if want := []string{"shutdown Got shutdown from remote"}; !slices.Equal(d.heard(), want) {
			t.Errorf("the node was told %q, want %q", d.heard(), want)
		}
	})
}

func TestRunEndsWithTheEngine(t *testing.T) {
	eng := memengine.New()
	s, err := NewServer(eng, nodeName, newDesk(), nil)
	if err != nil {
		t.Fatal(err)
	}
	eng.Close()
	if err := s.Run(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("got %v, want %v", err, engine.ErrClosed)
	}
}
