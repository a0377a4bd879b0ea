package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
	"github.com/rhubarb-go/rhubarb/worker"
)

func TestStartedIsKeptWhereItIsWanted(t *testing.T) {
	for _, c := range []struct {
		name   string
		worker bool
		task   []rhubarb.TaskOption
		want   bool
	}{
		{"nobody asks", false, nil, false},
		{"the worker does", true, nil, true},
		{"the task does", false, []rhubarb.TaskOption{rhubarb.TrackStarted()}, true},
		{"its result is ignored", true, []rhubarb.TaskOption{rhubarb.IgnoreResult()}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				task := rhubarb.Define("slow", func(context.Context, rhubarb.None) (int, error) {
					time.Sleep(time.Minute)
					return 1, nil
				}, c.task...)
				run(t, app, &worker.Options{TrackStarted: c.worker, Name: "celery@host"}, task)
				res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
				synctest.Wait()
				s := must(res.State(t.Context()))(t)
				want := ""
				if c.want {
					want = fmt.Sprintf(`{"pid":%d,"hostname":"celery@host"}`, os.Getpid())
				}
				if s.Status != engine.Started || string(s.Meta) != want {
					t.Errorf("while it runs: %s %s; want STARTED %s", s.Status, s.Meta, want)
				}
				res.Get(t.Context())
			})
		})
	}
}

func TestIgnoredResultsAreNotKept(t *testing.T) {
	fails := func(context.Context, rhubarb.None) (int, error) { return 0, errBoom }
	works := func(context.Context, rhubarb.None) (int, error) { return 7, nil }
	for _, c := range []struct {
		name    string
		handler func(context.Context, rhubarb.None) (int, error)
		task    []rhubarb.TaskOption
		call    []rhubarb.CallOption
		worker  worker.Options
		status  string
		record  string // part of it; empty means there is none
	}{
		{"a success, by the task", works, []rhubarb.TaskOption{rhubarb.IgnoreResult()}, nil, worker.Options{}, engine.Ignored, ""},
		{"a success, by the call", works, nil, []rhubarb.CallOption{rhubarb.NoResult()}, worker.Options{}, engine.Ignored, ""},
		{"a failure", fails, []rhubarb.TaskOption{rhubarb.IgnoreResult()}, nil, worker.Options{}, engine.Failure, ""},
		{"a failure of a task that keeps errors", fails, []rhubarb.TaskOption{rhubarb.IgnoreResult(), rhubarb.KeepErrors()}, nil, worker.Options{}, engine.Failure, "boom"},
		{"a failure in a worker that keeps errors", fails, nil, []rhubarb.CallOption{rhubarb.NoResult()}, worker.Options{KeepErrors: true}, engine.Failure, "boom"},
		{"a success in a worker that keeps errors", works, nil, []rhubarb.CallOption{rhubarb.NoResult()}, worker.Options{KeepErrors: true}, engine.Ignored, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				task := rhubarb.Define("quiet", c.handler, c.task...)
				run(t, app, &c.worker, task)
				res := must(task.Apply(t.Context(), app, rhubarb.None{}, c.call...))(t)
				n, err := res.Get(t.Context())
				if n != 0 || (err != nil) != (c.status == engine.Failure) {
					t.Errorf("Get = %d, %v", n, err)
				}
				s := must(res.State(t.Context()))(t)
				if s.Status != c.status || (len(s.Record) > 0) != (c.record != "") || !strings.Contains(string(s.Record), c.record) {
					t.Errorf("got %s %s; want %s and %q", s.Status, s.Record, c.status, c.record)
				}
				records := must(app.Engines().Streams.Read(t.Context(), res.ID(), "", 10))(t)
				if last := records[len(records)-1]; last.Kind != engine.KindEnd {
					t.Errorf("the stream's last record is %s; want its end", last.Kind)
				}
			})
		})
	}
}

func TestARetryWhoseResultIsIgnoredGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		runs := 0
		task := rhubarb.Define("quiet", func(context.Context, rhubarb.None) (int, error) {
			if runs++; runs < 3 {
				return 0, rhubarb.Retry(errBoom, time.Minute)
			}
			return 1, nil
		}, rhubarb.IgnoreResult())
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		if s := must(res.State(t.Context()))(t); s.Status != engine.Retry || len(s.Record) > 0 {
			t.Errorf("between the runs: %s %s; want RETRY alone", s.Status, s.Record)
		}
		if _, err := res.Get(t.Context()); err != nil || runs != 3 {
			t.Errorf("Get: %v after %d runs; want none after 3", err, runs)
		}
	})
}

func TestARetryIsPublishedAsCelerysIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := recorded(t, "stage-retry")
		want := again(t, rec.sent[0].ID)
		app := newApp(t)
		stop := run(t, app, nil, projFlaky)
		if r := app.Engines().Broker.Publish(t.Context(), rec.sent)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		synctest.Wait()
		s := must(app.Result(rec.sent[0].ID).State(t.Context()))(t)
		if self := `[[["` + s.ID + `",null],null]]`; s.Status != engine.Retry || !strings.Contains(string(s.Record), self) {
			t.Errorf("record %s; want a RETRY that is its own child", s.Record)
		}
		stop()
		d := take(t, app, "celery", 1)[0]
		if !reflect.DeepEqual(parts(t, d.Message), parts(t, want.Message)) || d.Priority != want.Priority {
			t.Errorf("got\n  %v\nwant\n  %v", parts(t, d.Message), parts(t, want.Message))
		}
	})
}

// again is the second message of the recorded retry.
func again(t *testing.T, id string) engine.Publication {
	t.Helper()
	data, err := os.ReadFile("testdata/stage-retry.json")
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
	for _, stage := range doc.Stages[1:] {
		for key, v := range stage.Keys {
			var r recording
			if strings.HasPrefix(key, "celery\x06") {
				r.add(t, v.Value)
			}
			for _, p := range r.sent {
				if p.ID == id && strings.Contains(string(p.Headers), `"retries": 1`) {
					return p
				}
			}
		}
	}
	t.Fatal("the recording has no second message")
	return engine.Publication{}
}

// parts is a message as values, without what its carrier and the moment make.
func parts(t *testing.T, m engine.Message) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name, raw := range map[string][]byte{"headers": m.Headers, "properties": m.Properties, "body": m.Body} {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		out[name] = v
	}
	h, p := out["headers"].(map[string]any), out["properties"].(map[string]any)
	h["eta"] = h["eta"] != nil
	for _, k := range []string{"delivery_tag", "delivery_info", "body_encoding", "expiration", "origin"} {
		delete(p, k) // Celery has the retry's origin among its properties by accident
	}
	return out
}

// take takes n messages from a queue as another program would.
func take(t *testing.T, app *rhubarb.App, queue string, n int) []*engine.Delivery {
	t.Helper()
	recv := must(app.Engines().Broker.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{queue}}))(t)
	defer recv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
	defer cancel()
	var out []*engine.Delivery
	for len(out) < n {
		ds, err := recv.Take(ctx, n-len(out))
		if err != nil {
			t.Fatalf("took %d of %d messages: %v", len(out), n, err)
		}
		out = append(out, ds...)
	}
	return out
}

func TestARetryWithoutAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		task := rhubarb.Define("again", func(context.Context, rhubarb.None) (int, error) {
			return 0, rhubarb.Retry(nil, time.Minute)
		}, rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 1}))
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		synctest.Wait()
		if s := must(res.State(t.Context()))(t); s.Status != engine.Retry || string(s.Meta) != "null" {
			t.Errorf("between the runs: %s %s; want RETRY null", s.Status, s.Meta)
		}
		_, err := res.Get(t.Context())
		var failed *rhubarb.TaskError
		if !errors.As(err, &failed) || failed.Type != "MaxRetriesExceededError" || failed.Module != "celery.exceptions" {
			t.Errorf("Get: %v; want a MaxRetriesExceededError", err)
		}
	})
}

func TestExpiredIsKeptAsCeleryDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := recorded(t, "stage-expired")
		app := newApp(t)
		res := must(projAdd.Apply(t.Context(), app, pair{2, 3}, rhubarb.ExpiresIn(time.Second)))(t)
		time.Sleep(1300 * time.Millisecond)
		run(t, app, nil, projAdd)
		res.Get(t.Context())
		got := must(celery.DecodeResult(must(res.State(t.Context()))(t).Record))(t)
		want := must(celery.DecodeResult(rec.results[rec.sent[0].ID]))(t)
		want.TaskID, want.DateDone = got.TaskID, got.DateDone
		if string(got.Append(nil)) != strings.ReplaceAll(strings.ReplaceAll(string(want.Append(nil)), `": `, `":`), `, "`, `,"`) {
			t.Errorf("got  %s\nwant %s", got.Append(nil), want.Append(nil))
		}
	})
}

func TestProgressIsExtendedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		task := rhubarb.Define("half", func(ctx context.Context, p pair) (int, error) {
			rhubarb.Progress(ctx, 1, 2)
			time.Sleep(time.Minute)
			return 1, nil
		})
		run(t, app, &worker.Options{ExtendedResults: true, Name: "celery@host"}, task)
		res := must(task.Apply(t.Context(), app, pair{1, 2}, rhubarb.Stamp("tenant", "t1")))(t)
		synctest.Wait()
		rec := must(celery.DecodeResult(must(res.State(t.Context()))(t).Record))(t)
		if rec.Name != "half" || string(rec.Kwargs) != `{"a":1,"b":2}` || string(rec.Args) != "[]" || rec.Worker != "celery@host" ||
			rec.Queue != "celery" || rec.Retries == nil || *rec.Retries != 0 || string(rec.Extra["tenant"]) != `"t1"` {
			t.Errorf("got %s", rec.Append(nil))
		}
		res.Get(t.Context())
	})
}

func TestExtendedRecordsLeaveOutWhatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		size := rhubarb.Define("size", func(_ context.Context, s string) (string, error) { return s[:400_000], nil })
		fails := rhubarb.Define("fails", func(context.Context, string) (string, error) {
			return "", errors.New(strings.Repeat("too much ", 2000))
		})
		run(t, app, &worker.Options{ExtendedResults: true, TrackStarted: true, Name: "celery@host"}, size, fails)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, task := range []*rhubarb.Task[string, string]{size, fails} {
			res := must(task.Delay(ctx, app, strings.Repeat("x", 990_000)))(t)
			_, err := res.Get(ctx)
			if ctx.Err() != nil || task == size && err != nil || task == fails && (err == nil || !strings.Contains(err.Error(), "too much")) {
				t.Fatalf("%s: %v", task.Name(), err)
			}
			record := string(must(res.State(ctx))(t).Record)
			if !strings.Contains(record, `"worker":"celery@host"`) || strings.Contains(record, `"args"`) {
				t.Errorf("%s: the record is %.200s… %.200s; want the worker in it and no arguments", task.Name(), record, record[max(0, len(record)-200):])
			}
		}
	})
}
