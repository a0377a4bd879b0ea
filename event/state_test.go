package event_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rhubarb-go/rhubarb/event"
)

func newState(t rapid.TB, o *event.StateOptions) *event.State {
	t.Helper()
	s, err := event.NewState(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// at is a time as Celery's recording has it; null is the zero time.
func at(v any) time.Time {
	if f, ok := v.(float64); ok {
		return time.UnixMilli(int64(f * 1000)).UTC()
	}
	return time.Time{}
}

func str(v any) string  { s, _ := v.(string); return s }
func num(v any) float64 { f, _ := v.(float64); return f }

func taskOf(m map[string]any) event.Task {
	return event.Task{
		ID: str(m["uuid"]), Name: str(m["name"]), State: str(m["state"]), Args: str(m["args"]), Kwargs: str(m["kwargs"]),
		Result: str(m["result"]), Exception: str(m["exception"]), Traceback: str(m["traceback"]),
		ETA: str(m["eta"]), Expires: str(m["expires"]), Retries: int(num(m["retries"])),
		Runtime: time.Duration(num(m["runtime"]) * 1e9), Worker: str(m["worker"]), Client: str(m["client"]),
		Queue: str(m["queue"]), Exchange: str(m["exchange"]), Key: str(m["routing_key"]),
		RootID: str(m["root_id"]), ParentID: str(m["parent_id"]), Time: at(m["timestamp"]), Clock: uint64(num(m["clock"])),
		Sent: at(m["sent"]), Received: at(m["received"]), Started: at(m["started"]), Succeeded: at(m["succeeded"]),
		Failed: at(m["failed"]), Retried: at(m["retried"]), Revoked: at(m["revoked"]), Rejected: at(m["rejected"]),
	}
}

func workerOf(m map[string]any) event.Worker {
	w := event.Worker{
		Hostname: str(m["hostname"]), PID: int(num(m["pid"])), Clock: uint64(num(m["clock"])),
		Freq:   time.Duration(num(m["freq"]) * 1e9),
		Active: int(num(m["active"])), Processed: int(num(m["processed"])),
		Software: str(m["sw_ident"]), Version: str(m["sw_ver"]), System: str(m["sw_sys"]),
	}
	for _, b := range m["heartbeats"].([]any) {
		w.Beats = append(w.Beats, at(b))
	}
	if load, ok := m["loadavg"].([]any); ok {
		w.Load = [3]float64{num(load[0]), num(load[1]), num(load[2])}
	}
	return w
}

func TestGoldenStateIsCelerys(t *testing.T) {
	var doc struct {
		Sequences []struct {
			Events         []json.RawMessage
			Tasks, Workers []map[string]any
		}
	}
	raw, err := os.ReadFile("testdata/state.json")
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err != nil || len(doc.Sequences) < 100 {
		t.Fatalf("%d sequences, %v", len(doc.Sequences), err)
	}
	for i, seq := range doc.Sequences {
		s := newState(t, nil)
		for _, raw := range seq.Events {
			events, err := event.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			var more struct {
				Received float64 `json:"local_received"`
			}
			if err := json.Unmarshal(raw, &more); err != nil {
				t.Fatal(err)
			}
			events[0].Received = at(more.Received)
			if err := s.Apply(events[0]); err != nil {
				t.Error(err)
			}
		}
		for _, m := range seq.Tasks {
			want := taskOf(m)
			if got, _ := s.Task(want.ID); !reflect.DeepEqual(got, want) {
				t.Errorf("sequence %d of\n%s\n got %+v\nwant %+v", i, seq.Events, got, want)
			}
		}
		var want []event.Worker
		for _, m := range seq.Workers {
			want = append(want, workerOf(m))
		}
		if got := s.Workers(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sequence %d of\n%s\n got %+v\nwant %+v", i, seq.Events, got, want)
		}
		if n := s.Counts(); n.Tasks != len(seq.Tasks) || n.Events != uint64(len(seq.Events)) || n.Unusable != 0 {
			t.Errorf("sequence %d: got %+v", i, n)
		}
	}
}

func TestWorkersAreAliveForTwoBeats(t *testing.T) {
	s := newState(t, nil)
	now := time.Unix(1000, 0)
	e := heartbeat(t, "a@h", `{"freq": 2.0}`)
	e.Time, e.Received = now, now
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	w := s.Workers()[0]
	if !w.Alive(now.Add(4*time.Second-1)) || w.Alive(now.Add(4*time.Second)) {
		t.Errorf("%+v: want alive for 4s", w)
	}
	if e, err := event.New("worker-offline", nil); err != nil {
		t.Error(err)
	} else if e.Hostname = "a@h"; s.Apply(e) != nil || s.Workers()[0].Alive(now) {
		t.Error("alive after worker-offline")
	}
}

func heartbeat(t rapid.TB, host, fields string) event.Event {
	t.Helper()
	e, err := event.New("worker-heartbeat", json.RawMessage(fields))
	if err != nil {
		t.Fatal(err)
	}
	e.Hostname = host
	return e
}

func TestABrokenClockDoesNotKeepAWorkerAlive(t *testing.T) {
	s := newState(t, nil)
	now := time.Unix(1000, 0)
	e := event.TaskStarted("x")
	e.Hostname, e.Time, e.Received = "a@h", now.AddDate(70, 0, 0), now
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
	if w := s.Workers()[0]; !w.Alive(now) || w.Alive(now.Add(2*time.Minute)) {
		t.Errorf("got %+v", w)
	}
	for _, freq := range []string{"0", "-1", "1e300", `"x"`, "null", "NaN"} {
		if err := s.Apply(heartbeat(t, "a@h", `{"freq": `+freq+`, "active": "x", "loadavg": [1]}`)); err != nil {
			t.Error(err)
		}
	}
	if w := s.Workers()[0]; w.Freq != time.Minute || w.Active != 0 {
		t.Errorf("got %+v", w)
	}
}

func TestUnusableEventsAreCounted(t *testing.T) {
	s := newState(t, nil)
	bare := event.TaskStarted("x")
	host := bare
	host.Hostname = "a@h"
	for want, e := range map[string]event.Event{
		"it has no uuid":      {Type: "task-started", Hostname: "a@h"},
		"it has no hostname":  bare,
		"it has no timestamp": host,
	} {
		if err := s.Apply(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if n := s.Counts(); n != (event.Counts{Events: 3, Unusable: 3}) {
		t.Errorf("got %+v", n)
	}
	if _, err := event.NewState(&event.StateOptions{Tasks: -1}); err == nil {
		t.Error("negative bounds are accepted")
	}
}

func TestStateKeepsWhoWasHeardLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newState(t, &event.StateOptions{Tasks: 5, Workers: 3})
		var tasks, workers []string // the one heard last in front
		for i := range rapid.IntRange(0, 60).Draw(t, "events") {
			id := fmt.Sprint("t", rapid.IntRange(0, 9).Draw(t, "task"))
			host := fmt.Sprint("w", rapid.IntRange(0, 5).Draw(t, "worker"))
			e := event.TaskStarted(id)
			e.Hostname, e.Time = host, time.Unix(int64(i), 0)
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
			tasks, workers = front(tasks, id, 5), front(workers, host, 3)
		}
		var got []string
		for _, task := range s.Tasks(event.Query{}) {
			got = append(got, task.ID)
		}
		var names []string
		for _, w := range s.Workers() {
			names = append(names, w.Hostname)
		}
		slices.Sort(workers)
		if !slices.Equal(got, tasks) || !slices.Equal(names, workers) {
			t.Errorf("got %v and %v, want %v and %v", got, names, tasks, workers)
		}
	})
}

func front(list []string, s string, most int) []string {
	list = slices.DeleteFunc(list, func(o string) bool { return o == s })
	list = append([]string{s}, list...)
	return list[:min(len(list), most)]
}

func TestTextsAreBounded(t *testing.T) {
	s := newState(t, &event.StateOptions{Bytes: 100_000})
	for i := range 50 {
		e := event.TaskFailed(fmt.Sprint(i), "E()", strings.Repeat("x", 400_000))
		e.Hostname, e.Time = "a@h", time.Unix(1, 0)
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	all := s.Tasks(event.Query{})
	if len(all) != 6 || len(all[0].Traceback) != 16<<10 || all[0].ID != "49" {
		t.Errorf("got %d tasks of %d bytes, the last is %s", len(all), len(all[0].Traceback), all[0].ID)
	}
}

func TestTasksAreFound(t *testing.T) {
	s := newState(t, nil)
	for i, name := range []string{"a", "b", "a"} {
		e := event.TaskReceived(event.Taken{ID: fmt.Sprint(i), Name: name})
		e.Hostname, e.Time = fmt.Sprint("w", i), time.Unix(1, 0)
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for want, q := range map[int]event.Query{
		3: {}, 2: {Name: "a"}, 1: {Worker: "w2", State: "RECEIVED"}, 0: {State: "SUCCESS"},
	} {
		if got := s.Tasks(q); len(got) != want {
			t.Errorf("%+v: got %v", q, got)
		}
	}
	if got := s.Tasks(event.Query{Limit: 1}); len(got) != 1 || got[0].ID != "2" {
		t.Errorf("got %v", got)
	}
	if got := s.TaskNames(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
}
