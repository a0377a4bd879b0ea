package rhubarb_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

// newEngine opens an engine for one test.
func newEngine(t *testing.T) engine.Set {
	t.Helper()
	eng := memengine.New()
	t.Cleanup(func() { eng.Close() })
	return engine.All(eng)
}

func TestCallsGoWhereTheirRouteSays(t *testing.T) {
	routes := []rhubarb.Route{
		{Task: "mail.*", Queue: "mail"},
		{Task: "*.urgent", Queue: "fast", Priority: 2},
		{Task: "mail.bulk", Queue: "slow", Priority: 9},
		{Task: "image.[a-c]?", Queue: "never"}, // without a star it is a name
		{Task: "img.[!x]*", Queue: "img"},
		{Task: "[]]*", Queue: "bracket"},
		{Task: "[*", Queue: "open"},
		{Task: "Ünicode.*", Queue: "utf8"},
		{Task: "only.*", Priority: 6},
	}
	named := rhubarb.Define("mail.own", func(context.Context, rhubarb.None) (int, error) { return 0, nil }, rhubarb.OnQueue("own"))
	app, err := rhubarb.New(newEngine(t), &rhubarb.Options{Routes: routes, Queue: "rest"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		task, queue string
		priority    int
		opts        []rhubarb.CallOption
	}{
		{"mail.send", "mail", 0, nil},
		{"mail.a.b", "mail", 0, nil},
		{"mail.urgent", "mail", 0, nil}, // the first pattern that fits
		{"sms.urgent", "fast", 2, nil},
		{"mail.bulk", "slow", 9, nil}, // the very name before any pattern
		{"mail.bulk", "mine", 9, []rhubarb.CallOption{rhubarb.Queue("mine")}},
		{"mail.bulk", "slow", 3, []rhubarb.CallOption{rhubarb.Priority(3)}},
		{"image.ab", "rest", 0, nil},
		{"img.a", "img", 0, nil},
		{"img.x", "rest", 0, nil},
		{"]a", "bracket", 0, nil},
		{"[a", "open", 0, nil},
		{"Ünicode.x", "utf8", 0, nil},
		{"MAIL.send", "rest", 0, nil},
		{"xmail.send", "rest", 0, nil},
		{"only.this", "rest", 6, nil},
	} {
		call, err := rhubarb.NewCall(c.task, rhubarb.Args{}, c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		app.Send(t.Context(), call)
		if call.Queue != c.queue || call.Priority != c.priority {
			t.Errorf("%s went to %s with priority %d; want %s with %d", c.task, call.Queue, call.Priority, c.queue, c.priority)
		}
	}
	call, err := named.Call(rhubarb.None{})
	if err != nil {
		t.Fatal(err)
	}
	if app.Send(t.Context(), call); call.Queue != "own" {
		t.Errorf("a task with a queue of its own went to %s", call.Queue)
	}
}

func TestRoutesAreCheckedAtOnce(t *testing.T) {
	for want, routes := range map[string][]rhubarb.Route{
		"no task":         {{Queue: "q"}},
		"leads nowhere":   {{Task: "a"}},
		"there twice":     {{Task: "a", Queue: "q"}, {Task: "a", Queue: "r"}},
		"priority 10":     {{Task: "a", Priority: 10}},
		"201 bytes":       {{Task: "a", Queue: strings.Repeat("q", 201)}},
		"pattern is wron": {{Task: "*[z-a]", Queue: "q"}},
	} {
		if _, err := rhubarb.New(newEngine(t), &rhubarb.Options{Routes: routes}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want an error about %q", routes, err, want)
		}
	}
}
