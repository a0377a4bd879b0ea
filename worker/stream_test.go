package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// story reads a task's whole stream as "attempt/kind payload" lines.
func story[T any](t *testing.T, res *rhubarb.Result[T]) []string {
	t.Helper()
	var lines []string
	for rec, err := range res.Stream().Tail(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d/%s", rec.Attempt, rec.Kind)
		if rec.Kind == engine.KindData {
			line += " " + string(rec.Payload)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestATaskAndItsStreamAreOneThing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		task := rhubarb.Define("story", func(ctx context.Context, _ rhubarb.None) (string, error) {
			for _, word := range []string{"once", "upon"} {
				if err := rhubarb.Emit(ctx, word); err != nil {
					return "", err
				}
			}
			if err := rhubarb.Progress(ctx, 1, 2); err != nil {
				return "", err
			}
			if rhubarb.Current(ctx).Attempt == 1 {
				return "", rhubarb.Retry(errBoom, time.Second)
			}
			return "the end", nil
		})
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		want := []string{
			`1/reset`, `1/data "once"`, `1/data "upon"`, `1/progress`, `1/state`,
			`2/reset`, `2/data "once"`, `2/data "upon"`, `2/progress`, `2/end`,
		}
		got := story(t, res)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("stream:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestEverythingEmittedIsThereBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		const n = 5000
		task := rhubarb.Define("flood", func(ctx context.Context, _ rhubarb.None) (int, error) {
			for i := range n {
				if err := rhubarb.Emit(ctx, i); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		got := story(t, res)
		if len(got) != n+2 || got[n] != fmt.Sprintf("1/data %d", n-1) || got[n+1] != "1/end" {
			t.Errorf("%d records, the last %q; want %d and the end", len(got), got[len(got)-2:], n+2)
		}
	})
}

func TestWatchShowsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		task := rhubarb.Define("steps", func(ctx context.Context, _ rhubarb.None) (string, error) {
			for i := range 3 {
				time.Sleep(time.Second)
				if err := rhubarb.Progress(ctx, i+1, 3); err != nil {
					return "", err
				}
			}
			time.Sleep(time.Second)
			return "done", rhubarb.UpdateState(ctx, "SUCCESS", nil) // must be refused
		})
		run(t, app, nil, task)
		res := must(task.Delay(t.Context(), app, rhubarb.None{}))(t)
		var seen []string
		for s, err := range res.Watch(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if cur, total, ok := s.Progress(); ok {
				seen = append(seen, fmt.Sprintf("%d/%d", cur, total))
			} else if s.Status != engine.Pending {
				seen = append(seen, s.Status)
			}
		}
		want := "STARTED 1/3 2/3 3/3 FAILURE"
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("states %s; want %s", got, want)
		}
	})
}

func TestOutsideATaskThereIsNoInvocation(t *testing.T) {
	for name, err := range map[string]error{
		"Emit":     rhubarb.Emit(t.Context(), 1),
		"Progress": rhubarb.Progress(t.Context(), 1, 2),
	} {
		if !errors.Is(err, rhubarb.ErrNoInvocation) {
			t.Errorf("%s: %v; want ErrNoInvocation", name, err)
		}
	}
}

func TestALostRunCanWriteNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		broker := app.Engines().Broker
		lost := must(broker.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"celery"}}))(t)
		defer lost.Close()
		res := must(add.Delay(t.Context(), app, pair{1, 2}))(t)
		d := must(lost.Take(t.Context(), 1))(t)[0]
		run(t, app, nil, add)
		if n, err := res.Get(t.Context()); n != 3 || err != nil { // after the lease of the silent owner
			t.Fatalf("Get = %d, %v; want 3 from the second owner", n, err)
		}
		if err := lost.Settle(t.Context(), []engine.Settlement{{Delivery: d}})[0]; !errors.Is(err, engine.ErrSuperseded) {
			t.Errorf("late settle: %v; want ErrSuperseded", err)
		}
		late := engine.Append{Stream: d.ID, Fence: d.Fence, Records: []engine.Entry{{Payload: []byte(`"ghost"`)}}}
		if err := app.Engines().Streams.Append(t.Context(), []engine.Append{late})[0]; !errors.Is(err, engine.ErrSuperseded) {
			t.Errorf("late append: %v; want ErrSuperseded", err)
		}
		if got := strings.Join(story(t, res), " "); got != "1/reset 2/reset 2/end" {
			t.Errorf("stream %q; want two resets and one end", got)
		}
	})
}
