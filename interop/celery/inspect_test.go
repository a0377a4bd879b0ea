package celery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// open are places in replies whose keys are not the protocol's.
var open = []string{"conf", "stats.total", "stats.pool.writes", "stats.rusage", "stats.broker.transport_options", "query_task", "hello.revoked"}

// inspections are the commands whose replies clients read.
var inspections = []struct {
	method    string
	arguments map[string]any
}{
	{"ping", nil},
	{"clock", nil},
	{"stats", nil},
	{"conf", nil},
	{"report", nil},
	{"active", nil},
	{"active", object{"safe": true}},
	{"reserved", nil},
	{"scheduled", nil},
	{"revoked", nil},
	{"registered", nil},
	{"active_queues", nil},
	{"hello", object{"from_node": "other@interop", "revoked": object{}}},
	{"hello", object{"from_node": "other@interop", "revoked": []string{"gone"}}},
	{"rate_limit", object{"task_name": "interop.size", "rate_limit": "100/s"}},
	{"rate_limit", object{"task_name": "interop.size", "rate_limit": "often"}},
	{"rate_limit", object{"task_name": "no.such", "rate_limit": "1/s"}},
	{"time_limit", object{"task_name": "interop.size", "hard": 60, "soft": 50}},
	{"time_limit", object{"task_name": "no.such", "hard": 60, "soft": 50}},
	{"enable_events", nil},
	{"add_consumer", object{"queue": "some.more"}},
	{"cancel_consumer", object{"queue": "some.more"}},
	{"nonsense", nil},
}

// ask has the current Celery ask a worker.
func ask(ctx context.Context, node, method string, arguments map[string]any) (any, error) {
	var got struct{ Answers []map[string]any }
	err := site.hears[python].do(ctx, "ask", map[string]any{
		"method": method, "arguments": arguments, "destination": []string{node},
	}, &got)
	if err != nil {
		return nil, err
	}
	if len(got.Answers) != 1 || len(got.Answers[0]) != 1 {
		return nil, fmt.Errorf("%s of %s is answered by %v", method, node, got.Answers)
	}
	reply, ok := got.Answers[0][node]
	if !ok {
		return nil, fmt.Errorf("%s of %s is answered by %v", method, node, got.Answers)
	}
	return reply, nil
}

// TestInspect compares the replies of each worker with those of Celery as it is
// now, while one task runs, one waits for its time and one is revoked.
func TestInspect(t *testing.T) {
	need(t)
	for _, k := range kinds {
		busy(t, k)
	}
	for _, i := range inspections {
		want, err := ask(t.Context(), python.node(false), i.method, i.arguments)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range kinds {
			if k == oldest && i.method != "ping" && i.method != "active_queues" && i.method != "registered" {
				continue // its replies are its own matter; that it is asked and answers is not
			}
			t.Run(fmt.Sprint(i.method, " ", i.arguments, " of ", k), func(t *testing.T) {
				got, err := ask(t.Context(), k.node(false), i.method, i.arguments)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range differences(i.method, got, want) {
					t.Error(d)
				}
			})
		}
	}
}

// busy has a worker run a task until the test ends, keep one for later, and
// know of one that is revoked.
func busy(t *testing.T, k kind) {
	r := begin(t, direction{python, k}, scenario{})
	gate := r.path("gate")
	later := &call{Task: "interop.add", Args: []any{1, 2}, Countdown: time.Hour}
	r.call = one("tracked", gate)
	r.submit(r.call)
	r.submit(later)
	r.is("STARTED")
	r.listen(later, "sent")
	if err := r.from.revoke(r.ctx, "nobody-"+string(k)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.open(gate)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := r.from.get(ctx, r.call.ID)
		if err := errors.Join(err, r.from.revoke(ctx, later.ID)); err != nil {
			t.Error(err)
		}
	})
}

// differences are those in keys and types; a text that is the reply's own must
// be equal but for names. Null is of any type.
func differences(at string, got, want any) []string {
	if got == nil || want == nil || slices.Contains(open, strings.ReplaceAll(at, "[0]", "")) {
		return nil
	}
	if g, w := kindOf(got), kindOf(want); g != w {
		return []string{fmt.Sprintf("%s is of type %s, want %s: %v", at, g, w, got)}
	}
	switch want := want.(type) {
	case map[string]any:
		return differentKeys(at, got.(map[string]any), want)
	case []any:
		if got := got.([]any); len(got) > 0 && len(want) > 0 {
			return differences(at+"[0]", got[0], want[0])
		}
	case string:
		if got := got.(string); strings.HasSuffix(at, ".ok") && !strings.HasPrefix(at, "report") || strings.HasSuffix(at, ".error") {
			if got != want {
				return []string{fmt.Sprintf("%s says %q, want %q", at, got, want)}
			}
		}
	}
	return nil
}

func differentKeys(at string, got, want map[string]any) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		v, ok := got[key]
		if !ok {
			all = append(all, fmt.Sprintf("%s has no %s", at, key))
			continue
		}
		all = append(all, differences(at+"."+key, v, want[key])...)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			all = append(all, fmt.Sprintf("%s has %s, which Celery has not", at, key))
		}
	}
	return all
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "list"
	}
	return "object"
}
