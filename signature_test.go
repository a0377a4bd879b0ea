package rhubarb_test

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

var noop = rhubarb.Define("noop", func(context.Context, rhubarb.Args) (int, error) { return 0, nil })

func TestASignatureKeepsAllOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := noop.Partial()
		sig, err := noop.Signature(rhubarb.Args{Args: []any{1}}, rhubarb.Queue("q"), rhubarb.Priority(3), rhubarb.Countdown(time.Minute),
			rhubarb.ExpiresIn(time.Hour), rhubarb.Limits(time.Second, 2*time.Second), rhubarb.Header("h", "v"), rhubarb.Stamp("s", 1),
			rhubarb.TaskID("id"), rhubarb.Shadow("nice"), rhubarb.Link(other), rhubarb.LinkError(other), rhubarb.NoResult())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(sig)
		if err != nil {
			t.Fatal(err)
		}
		var back rhubarb.Signature
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the countdown begins when it is called
		call, err := rhubarb.CallOf(back, json.RawMessage("0"))
		if err != nil {
			t.Fatal(err)
		}
		app, err := rhubarb.New(newEngine(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		app.Send(t.Context(), call)
		if got := time.Until(call.ETA); got != time.Minute {
			t.Errorf("ETA in %v; want a minute from the call", got)
		}
		if got := call.Expires.Sub(call.ETA); got != time.Hour {
			t.Errorf("expires %v after the ETA; want an hour", got)
		}
		got := []any{call.ID, call.Queue, call.Priority, call.SoftLimit, call.HardLimit, string(call.RawHeaders["h"]), string(call.Stamps["s"]),
			call.Shadow, len(call.Links), len(call.LinkErrors), call.IgnoreResult, len(call.Args)}
		want := []any{"id", "q", 3, time.Second, 2 * time.Second, `"v"`, "1", "nice", 1, 1, true, 2}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestSignaturesOfPeersAreChecked(t *testing.T) {
	for _, options := range []string{
		`{"queue": 1}`, `{"priority": "x"}`, `{"countdown": "soon"}`, `{"eta": 7}`, `{"eta": {}}`, `{"expires": []}`, `{"time_limit": "x"}`,
		`{"headers": 1}`, `{"stamped_headers": "x"}`, `{"link": 1}`, `{"link_error": [1]}`, `{"chord": 1}`, `{"group_index": "x"}`, `{"task_id": {}}`,
	} {
		var sig rhubarb.Signature
		if err := json.Unmarshal([]byte(`{"task": "t", "options": `+options+`}`), &sig); err != nil {
			t.Fatal(err)
		}
		if c, err := rhubarb.CallOf(sig); err == nil {
			t.Errorf("%s made %+v; want an error", options, c)
		}
	}
}

func TestAFailedTravelsAsCelerysArguments(t *testing.T) {
	f := rhubarb.Failed{ID: "i", Task: "t", RootID: "r", Retries: 2, Args: []json.RawMessage{[]byte("1")}, Kwargs: map[string]json.RawMessage{},
		Type: "ValueError", Module: "builtins", Message: "boom", Traceback: "line 1"}
	onError := rhubarb.Define("on_error", func(context.Context, rhubarb.Failed) (int, error) { return 0, nil })
	if !onError.Definition().TakesFailed || noop.Definition().TakesFailed {
		t.Error("TakesFailed is wrong")
	}
	for _, want := range []rhubarb.Failed{f, {ID: "i"}} {
		call, err := onError.Call(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := onError.Input(call); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	for _, args := range []string{`[]`, `[7]`, `[{"id": "x"}]`, `[{"id": "x"}, null]`, `[{"id": 1}, null, null]`, `[{"id": "x"}, null, 7]`} {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(args), &list); err != nil {
			t.Fatal(err)
		}
		if got, err := onError.Input(&rhubarb.Call{Args: list}); err == nil {
			t.Errorf("%s gave %+v; want an error", args, got)
		}
	}
}
