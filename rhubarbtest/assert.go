package rhubarbtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb"
)

// Inputs returns the inputs of the calls of a task that were sent, in order.
func Inputs[In, Out any](t testing.TB, a *App, task *rhubarb.Task[In, Out]) []In {
	t.Helper()
	var ins []In
	for _, c := range a.Sent() {
		if c.Task != task.Name() {
			continue
		}
		in, err := task.Input(c)
		if err != nil {
			t.Errorf("call of %s: %v", c.Task, err)
			continue
		}
		ins = append(ins, in)
	}
	return ins
}

// WasSent fails the test unless the task was sent with that input, and returns
// the first such call, so that its options can be looked at.
func WasSent[In, Out any](t testing.TB, a *App, task *rhubarb.Task[In, Out], in In) *rhubarb.Call {
	t.Helper()
	want, err := task.Call(in)
	if err != nil {
		t.Fatalf("WasSent(%s): %v", task.Name(), err)
	}
	var others []string
	for _, c := range a.Sent() {
		if c.Task == task.Name() && sameArgs(c, want) {
			return c
		}
		others = append(others, describe(c))
	}
	t.Fatalf("%s was not sent\nsent: %s", describe(want), orNothing(others))
	return nil
}

// NotSent fails the test if the task was sent at all.
func NotSent(t testing.TB, a *App, task rhubarb.Runnable) {
	t.Helper()
	for _, c := range a.Sent() {
		if c.Task == task.Definition().Name {
			t.Errorf("%s was sent", describe(c))
		}
	}
}

func sameArgs(a, b *rhubarb.Call) bool {
	return reflect.DeepEqual(values(a), values(b))
}

// values are the arguments decoded, so that spaces and the order of keys do
// not matter.
func values(c *rhubarb.Call) any {
	args := make([]any, len(c.Args))
	for i, raw := range c.Args {
		args[i] = value(raw)
	}
	kwargs := make(map[string]any, len(c.Kwargs))
	for k, raw := range c.Kwargs {
		kwargs[k] = value(raw)
	}
	return [2]any{args, kwargs}
}

func value(raw json.RawMessage) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return string(raw) // NaN and the like
	}
	return v
}

func describe(c *rhubarb.Call) string {
	var parts []string
	for _, raw := range c.Args {
		parts = append(parts, string(raw))
	}
	if len(c.Kwargs) > 0 {
		raw, err := json.Marshal(c.Kwargs)
		if err != nil {
			raw = []byte(fmt.Sprint(c.Kwargs))
		}
		parts = append(parts, string(raw))
	}
	return c.Task + "(" + strings.Join(parts, ", ") + ")"
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return "\n  " + strings.Join(list, "\n  ")
}
