package cli

import (
	"encoding/json"
	"os"
	"testing"
)

func TestRepliesAreShownAsCeleryShowsThem(t *testing.T) {
	for in, want := range map[string]string{
		`{"ok":"pong"}`:         "->  a@b: OK\n        pong\n",
		`{"error":"KeyError"}`:  "->  a@b: ERROR\n        KeyError\n",
		`[]`:                    "->  a@b: OK\n    - empty -\n",
		`["x","y"]`:             "->  a@b: OK\n    * x\n    * y\n",
		`{"clock":7}`:           "->  a@b: OK\n    {\n        \"clock\": 7\n    }\n",
		`"- rss (end): 1MB.\n"`: "->  a@b: OK\n    - rss (end): 1MB.\n    \n",
	} {
		if got := said("a@b", json.RawMessage(in)); got != want {
			t.Errorf("%s:\n%q, want\n%q", in, got, want)
		}
	}
}

func TestRemoteArguments(t *testing.T) {
	for _, c := range []struct {
		method string
		words  []string
		want   string
	}{
		{"rate_limit", []string{"mail.send", "10/m"}, `{"rate_limit":"10/m","task_name":"mail.send"}`},
		{"time_limit", []string{"mail.send", "1.5", "3"}, `{"hard":3,"soft":1.5,"task_name":"mail.send"}`},
		{"terminate", []string{"KILL", "a", "b"}, `{"signal":"KILL","task_id":["a","b"]}`},
		{"revoke", []string{"a"}, `{"task_id":["a"]}`},
		{"pool_grow", nil, `{}`},
		{"pool_grow", []string{"1", "2"}, ``},
		{"nope", nil, ``},
	} {
		args, err := (&remoteFlags{Method: c.method, Args: c.words}).arguments(controlForms)
		raw, _ := json.Marshal(args) // texts and numbers always encode
		if c.want == "" && err == nil || c.want != "" && string(raw) != c.want {
			t.Errorf("%s %v: %s, %v; want %s", c.method, c.words, raw, err, c.want)
		}
	}
}

func TestNodeNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"": "", "w1@%h": "w1@" + host, "w1@": "w1@" + host, "@x": "celery@x", "x": "celery@x"} {
		if got := nodeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
