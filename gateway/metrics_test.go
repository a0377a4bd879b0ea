package gateway_test

import (
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/gateway"
)

func TestMetricsCountWhatHappens(t *testing.T) {
	s := open(t, gateway.Options{Tasks: all})
	s.work()
	s.state(s.call("math.add", `{"args": [1]}`))
	s.state(s.call("fail", ""))
	s.call("elsewhere", "")
	s.do("POST", "/tasks/nope", "")

	res := s.do("GET", "/metrics", "")
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("got %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		"rhubarb_engine_up 1",
		`rhubarb_queue_ready{queue="other"} 1`,
		`rhubarb_queue_held{queue="celery"} 0`,
		`rhubarb_task_runs_total{outcome="success",task="math.add"} 1`,
		`rhubarb_task_runs_total{outcome="failure",task="fail"} 1`,
		`rhubarb_task_duration_seconds_count{task="math.add"} 1`,
		"rhubarb_tasks_running 0",
		`rhubarb_http_requests_total{code="202",route="/tasks/{id}"} 3`,
		`rhubarb_http_requests_total{code="404",route="/tasks/{id}"} 1`,
		"rhubarb_sse_connections 0",
		"go_build_info", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(res.body, want) {
			t.Errorf("no %q in\n%s", want, grep(res.body, "rhubarb_"))
		}
	}
}

func TestMetricsSayThatTheEngineIsAway(t *testing.T) {
	s := open(t, gateway.Options{})
	if err := s.app.Engines().Broker.Close(); err != nil {
		t.Fatal(err)
	}
	if res := s.do("GET", "/metrics", ""); res.StatusCode != 200 || !strings.Contains(res.body, "rhubarb_engine_up 0") {
		t.Errorf("metrics: got %d\n%s", res.StatusCode, grep(res.body, "rhubarb_"))
	}
	expectProblem(t, s.do("POST", "/tasks/x", ""), 503, "the engine did not answer")
	expectProblem(t, s.do("GET", "/tasks/x", ""), 503, "the engine did not answer")
	if res := s.do("GET", "/readyz", ""); res.StatusCode != 503 {
		t.Errorf("readyz: got %d %s, want 503", res.StatusCode, res.body)
	}
	if res := s.do("GET", "/healthz", ""); res.StatusCode != 200 {
		t.Errorf("healthz: got %d, want 200", res.StatusCode)
	}
}

func grep(text, part string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
