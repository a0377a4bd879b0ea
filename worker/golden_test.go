package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
	"github.com/rhubarb-go/rhubarb/worker"
)

// recording is a scenario as Celery's worker did it.
type recording struct {
	sent    []engine.Publication       // by the client, in order
	results map[string]json.RawMessage // by id, the last that was kept
}

// recorded reads a capture of stages.
func recorded(t *testing.T, file string) recording {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Stages []struct {
			Keys map[string]struct{ Value json.RawMessage }
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	rec := recording{results: map[string]json.RawMessage{}}
	for i, stage := range doc.Stages {
		for key, v := range stage.Keys {
			id, isResult := strings.CutPrefix(key, "celery-task-meta-")
			var text string
			switch {
			case isResult && json.Unmarshal(v.Value, &text) == nil:
				rec.results[id] = json.RawMessage(text)
			case i == 0 && !strings.HasPrefix(key, "_kombu"):
				rec.add(t, v.Value)
			}
		}
	}
	return rec
}

// add reads the envelopes of a list, whose right end is taken first.
func (rec *recording) add(t *testing.T, list json.RawMessage) {
	t.Helper()
	var envelopes []string
	if err := json.Unmarshal(list, &envelopes); err != nil {
		t.Fatal(err)
	}
	for _, text := range slices.Backward(envelopes) {
		m, queue, priority, err := celery.ParseEnvelope([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		rec.sent = append(rec.sent, engine.Publication{Message: m, Queue: queue, Priority: priority})
	}
}

// The recordings' tasks in Go.
var (
	projAdd   = rhubarb.Define("proj.add", func(_ context.Context, p pair) (int, error) { return p.A + p.B, nil })
	projMul   = rhubarb.Define("proj.mul", func(_ context.Context, p pair) (int, error) { return p.A * p.B, nil })
	projQuiet = rhubarb.Define("proj.quiet", func(context.Context, rhubarb.None) (string, error) { return "quiet", nil })
	projFail  = rhubarb.Define("proj.fail", func(context.Context, rhubarb.Args) (int, error) { return 0, errBoom })
	projFlaky = rhubarb.Define("proj.flaky", func(ctx context.Context, n int) (int, error) {
		if rhubarb.Current(ctx).Retries < 1 {
			return 0, rhubarb.Retry(errors.New("not yet"), time.Second)
		}
		return n, nil
	})
	projTracked = rhubarb.Define("proj.tracked", func(context.Context, rhubarb.None) (int, error) { return 1, nil }, rhubarb.TrackStarted())
	projReject  = rhubarb.Define("proj.reject", func(context.Context, bool) (int, error) { return 0, rhubarb.Reject("no") })
	projSleep   = rhubarb.Define("proj.sleep", func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	projOld     = rhubarb.Define("proj.onerr_old", func(_ context.Context, id string) (string, error) { return "failed " + id, nil })
	projNew     = rhubarb.Define("proj.onerr_new", func(context.Context, rhubarb.Failed) (rhubarb.None, error) { return rhubarb.None{}, nil })
)

func TestRecordsAreAsCeleryMakesThem(t *testing.T) {
	for _, c := range []struct {
		file string
		opts worker.Options
	}{
		{"stage-chain", worker.Options{}},
		{"stage-chain-failure", worker.Options{}},
		{"stage-link", worker.Options{}},
		{"stage-link-error", worker.Options{}},
		{"stage-extended", worker.Options{ExtendedResults: true, Name: "celery@host"}},
		{"stage-stamped", worker.Options{ExtendedResults: true, Name: "celery@host"}},
		{"stage-retry", worker.Options{}},
		{"stage-started", worker.Options{}},
		{"stage-ignore-result", worker.Options{}},
		{"stage-reject", worker.Options{}},
		{"stage-time-limit", worker.Options{}},
	} {
		t.Run(c.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := recorded(t, c.file)
				app := newApp(t)
				ran := watchRuns(&c.opts)
				run(t, app, &c.opts, projAdd, projMul, projQuiet, projFail, projFlaky, projTracked, projReject, projSleep, projOld, projNew)
				for _, r := range app.Engines().Broker.Publish(t.Context(), rec.sent) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
				time.Sleep(time.Minute) // all are done by then: the longest takes two seconds
				compare(t, app, rec, ran())
			})
		})
	}
}

// watchRuns notes what a worker runs, but for error links of the new style,
// which Celery calls on the spot and which are tasks here.
func watchRuns(opts *worker.Options) (ids func() []string) {
	var mu sync.Mutex
	var ran []string
	opts.Run = append(opts.Run, func(next rhubarb.Handler) rhubarb.Handler {
		return func(ctx context.Context, inv *rhubarb.Invocation) (any, error) {
			if inv.Task != projNew.Name() {
				mu.Lock()
				ran = append(ran, inv.ID)
				mu.Unlock()
			}
			return next(ctx, inv)
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ran)
	}
}

// compare holds our results against the recorded ones: those of all that ran
// and all that Celery kept something of.
func compare(t *testing.T, app *rhubarb.App, rec recording, ran []string) {
	t.Helper()
	ours := map[string]json.RawMessage{}
	for _, id := range slices.AppendSeq(ran, maps.Keys(rec.results)) {
		if s := must(app.Result(id).State(t.Context()))(t); len(s.Record) > 0 {
			ours[id] = s.Record
		}
	}
	got, want := shapes(t, rec, ours), shapes(t, rec, rec.results)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// shapes are records without what differs from run to run: ids that were made
// on the way, moments, and how Go and Python see an error.
func shapes(t *testing.T, rec recording, records map[string]json.RawMessage) []string {
	t.Helper()
	known := map[string]bool{}
	for _, p := range rec.sent {
		for _, id := range uuids.FindAllString(string(p.Headers)+string(p.Body), -1) {
			known[id] = true
		}
	}
	var out []string
	for _, record := range records {
		var m map[string]any
		if err := json.Unmarshal(record, &m); err != nil {
			t.Fatal(err)
		}
		if m["date_done"] != nil {
			m["date_done"] = "some time"
		}
		delete(m, "traceback")
		if x, ok := m["result"].(map[string]any); ok && x["exc_module"] != "celery.exceptions" && x["exc_module"] != "billiard.exceptions" && x["exc_type"] != nil {
			m["result"] = fmt.Sprintf("an exception of %d fields", len(x))
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, uuids.ReplaceAllStringFunc(string(raw), func(id string) string {
			if known[id] {
				return id
			}
			return "new"
		}))
	}
	slices.Sort(out)
	return out
}
