package worker_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// link makes a signature from Celery's JSON.
func link(t *testing.T, text string) rhubarb.Signature {
	t.Helper()
	var s rhubarb.Signature
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// followed runs 2+3 with links and returns what its worker sent to queue next.
func followed(t *testing.T, app *rhubarb.App, n int, opts ...rhubarb.CallOption) []*celery.Task {
	t.Helper()
	stop := run(t, app, nil, add, projFail)
	res := must(add.Apply(t.Context(), app, pair{2, 3}, opts...))(t)
	if _, err := res.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	var tasks []*celery.Task
	for _, d := range take(t, app, "next", n) {
		task := must(celery.Decode(d.Message, celery.Limits{}))(t)
		if err := task.DecodeBody(); err != nil {
			t.Fatal(err)
		}
		task.Priority = d.Priority
		tasks = append(tasks, task)
	}
	return tasks
}

func TestEveryOptionOfALinkIsHonoured(t *testing.T) {
	cases := []struct {
		option string
		got    func(*celery.Task) any
		want   any
	}{
		{`"task_id": "mine"`, func(t *celery.Task) any { return t.ID }, "mine"},
		{`"priority": 6`, func(t *celery.Task) any { return t.Priority }, 6},
		{`"countdown": 60`, func(t *celery.Task) any { return time.Until(t.ETA).Round(time.Second) }, time.Duration(0)}, // it was waited for
		{`"eta": "2000-01-01T01:00:00+00:00"`, func(t *celery.Task) any { return t.ETA.Format(time.RFC3339) }, "2000-01-01T01:00:00Z"},
		{`"expires": 90`, func(t *celery.Task) any { return time.Until(t.Expires) }, 90 * time.Second},
		{`"expires": "2000-01-02T00:00:00+00:00"`, func(t *celery.Task) any { return t.Expires.Format(time.RFC3339) }, "2000-01-02T00:00:00Z"},
		{`"time_limit": 20, "soft_time_limit": 1.5`, func(t *celery.Task) any { return []time.Duration{t.HardLimit, t.SoftLimit} }, []time.Duration{20 * time.Second, 1500 * time.Millisecond}},
		{`"headers": {"tenant": "t1", "n": [1]}`, func(t *celery.Task) any { return string(t.Extra["tenant"]) + string(t.Extra["n"]) }, `"t1"[1]`},
		{`"stamped_headers": ["b", "a"], "a": [1], "b": "x"`, func(t *celery.Task) any {
			return strings.Join(t.StampedHeaders, "") + string(t.Stamps["a"]) + string(t.Stamps["b"])
		}, `ab[1]"x"`},
		{`"reply_to": "there"`, func(t *celery.Task) any { return t.ReplyTo }, "there"},
		{`"shadow": "nice"`, func(t *celery.Task) any { return t.Shadow }, "nice"},
		{`"ignore_result": true`, func(t *celery.Task) any { return t.IgnoreResult }, true},
		{`"compression": "zlib"`, func(t *celery.Task) any { return t.Compression }, "application/x-gzip"},
		{`"link": {"task": "more"}, "link_error": [{"task": "e1"}, {"task": "e2"}]`, func(t *celery.Task) any {
			return t.Embed.Callbacks[0].Task + t.Embed.Errbacks[0].Task + t.Embed.Errbacks[1].Task
		}, "moree1e2"},
		{`"chain": [{"task": "last"}]`, func(t *celery.Task) any { return t.Embed.Chain[0].Task }, "last"},
		{`"chord": {"task": "body"}, "group_id": "g", "group_index": 3`, func(t *celery.Task) any {
			return []any{t.Embed.Chord.Task, t.Group, *t.GroupIndex}
		}, []any{"body", "g", 3}},
		{`"serializer": "json", "exchange": null, "unheard_of": {}`, func(t *celery.Task) any { return t.Name }, "next"},
	}
	for _, c := range cases {
		t.Run(c.option, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sig := link(t, `{"task": "next", "args": [1], "kwargs": {"k": 2}, "options": {"queue": "next", `+c.option+`}}`)
				task := followed(t, newApp(t), 1, rhubarb.Link(sig))[0]
				if got := c.got(task); !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				if len(task.Args) != 2 || string(task.Args[0]) != "5" || string(task.Kwargs["k"]) != "2" {
					t.Errorf("called with %s %s; want the result in front of its own", task.Args, task.Kwargs)
				}
			})
		})
	}
}

func TestAnImmutableLinkIsCalledAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sig := link(t, `{"task": "next", "args": [1], "options": {"queue": "next"}, "immutable": true}`)
		if task := followed(t, newApp(t), 1, rhubarb.Link(sig))[0]; len(task.Args) != 1 {
			t.Errorf("called with %s; want its own argument alone", task.Args)
		}
	})
}

// whom tells tasks by name, arguments and group.
func whom(tasks []*celery.Task) []string {
	var out []string
	for _, t := range tasks {
		args := make([]string, len(t.Args))
		for i, a := range t.Args {
			args[i] = string(a)
		}
		s := t.Name + "(" + strings.Join(args, ", ") + ")"
		if t.Group != "" {
			s += " in a group"
		}
		for _, step := range slices.Backward(t.Embed.Chain) {
			s += ", then " + step.Task
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func TestLinksThatAreCanvases(t *testing.T) {
	const (
		a     = `{"task": "a", "args": [1], "options": {"queue": "next"}}`
		b     = `{"task": "b", "options": {"queue": "next"}}`
		group = `{"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [` + a + `, ` + b + `]}}`
		chain = `{"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": [` + a + `, ` + b + `]}}`
		both  = `{"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [` + chain + `, ` + group + `]}}`
		far   = `{"task": "celery.group", "subtask_type": "group", "options": {"queue": "next"}, "kwargs": {"tasks": [{"task": "c"}]}}`
		odd   = `{"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": 7}}`
	)
	for _, c := range []struct {
		name     string
		links    []string
		want     []string
		children string // how the record names them: T a task, G a group
	}{
		{"one", []string{a}, []string{"a(5, 1)"}, "T"},
		{"two make a group", []string{a, b}, []string{"a(5, 1) in a group", "b(5) in a group"}, "G2"},
		{"a group", []string{group}, []string{"a(5, 1) in a group", "b(5) in a group"}, "G2"},
		{"a group and another", []string{a, group}, []string{"a(5, 1)", "a(5, 1) in a group", "b(5) in a group"}, "G2T"},
		{"a chain", []string{chain}, []string{"a(5, 1), then b"}, "T"},
		{"a group of a chain and a group", []string{both}, []string{"a(5, 1) in a group", "a(5, 1), then b", "b(5) in a group"}, "G3"},
		{"a group's options are its members'", []string{far}, []string{"c(5) in a group"}, "G1"},
		{"one that cannot be called is passed over", []string{odd, b}, []string{"b(5)"}, "T"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := newApp(t)
				opts := []rhubarb.CallOption{rhubarb.TaskID("first")}
				for _, text := range c.links {
					opts = append(opts, rhubarb.Link(link(t, text)))
				}
				tasks := followed(t, app, len(c.want), opts...)
				if got := whom(tasks); !slices.Equal(got, c.want) {
					t.Errorf("called %q\nwant %q", got, c.want)
				}
				for _, task := range tasks {
					if task.ParentID != "first" || task.RootID != "first" {
						t.Errorf("%s has parent %q and root %q; want first", task.Name, task.ParentID, task.RootID)
					}
				}
				if got := kinds(t, must(app.Result("first").State(t.Context()))(t).Record); got != c.children {
					t.Errorf("children %s, want %s", got, c.children)
				}
			})
		})
	}
}

// kinds tells what children a record names.
func kinds(t *testing.T, record json.RawMessage) string {
	t.Helper()
	var children [][2]json.RawMessage
	if err := json.Unmarshal(must(celery.DecodeResult(record))(t).Children, &children); err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, child := range children {
		var members []json.RawMessage
		if json.Unmarshal(child[1], &members) == nil && members != nil {
			out += "G" + string(rune('0'+len(members)))
		} else {
			out += "T"
		}
	}
	return out
}

func TestPriorityIsInheritedIfTheAppSaysSo(t *testing.T) {
	for _, inherit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			app := must(rhubarb.New(newApp(t).Engines(), &rhubarb.Options{InheritPriority: inherit}))(t)
			asks := rhubarb.Define("asks", func(ctx context.Context, _ rhubarb.None) (int, error) {
				for _, p := range []int{0, 9} {
					call := must(rhubarb.NewCall("child", rhubarb.Args{}, rhubarb.Queue("next"), rhubarb.Priority(p)))(t)
					rhubarb.AppOf(ctx).Send(ctx, call)
				}
				return 5, nil
			})
			stop := run(t, app, nil, asks)
			res := must(asks.Apply(t.Context(), app, rhubarb.None{}, rhubarb.Priority(3),
				rhubarb.Link(link(t, `{"task": "own", "options": {"queue": "next", "priority": 6}}`)),
				rhubarb.Link(link(t, `{"task": "link", "options": {"queue": "next"}}`))))(t)
			res.Get(t.Context())
			stop()
			want := map[string][]int{"child": {0, 9}, "own": {6}, "link": {0}}
			if inherit {
				want = map[string][]int{"child": {3, 9}, "own": {6}, "link": {3}}
			}
			got := map[string][]int{}
			for _, d := range take(t, app, "next", 4) {
				got[d.Task] = append(got[d.Task], d.Priority)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("inherit %t: priorities %v, want %v", inherit, got, want)
			}
		})
	}
}

func TestErrorLinksGetAllThereIsToKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		heard := make(chan rhubarb.Failed, 2)
		tell := rhubarb.Define("tell", func(_ context.Context, f rhubarb.Failed) (rhubarb.None, error) {
			heard <- f
			return rhubarb.None{}, nil
		})
		run(t, app, nil, projFail, tell)
		call := must(rhubarb.NewCall("proj.fail", rhubarb.Args{Args: []any{1}, Kwargs: map[string]any{"k": "v"}}, rhubarb.LinkError(tell.Partial())))(t)
		id := app.Send(t.Context(), call)[0].ID
		got := <-heard
		want := rhubarb.Failed{ID: id, Task: "proj.fail", RootID: id, Args: []json.RawMessage{[]byte("1")},
			Kwargs: map[string]json.RawMessage{"k": []byte(`"v"`)}, Type: "Error", Module: "rhubarb", Message: "boom"}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the error link got %+v\nwant %+v", got, want)
		}
		// A worker that does not know the task sends the id alone, as Celery's does.
		app.Send(t.Context(), must(rhubarb.NewCall("tell", rhubarb.Args{Args: []any{id}}))(t))
		if got := <-heard; !reflect.DeepEqual(got, rhubarb.Failed{ID: id}) {
			t.Errorf("by its id alone the error link got %+v", got)
		}
	})
}

func TestForeignErrorLinksAreSentTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		stop := run(t, app, nil, projFail)
		call := must(rhubarb.NewCall("proj.fail", rhubarb.Args{},
			rhubarb.LinkError(link(t, `{"task": "go.onerr", "options": {"queue": "go"}}`)),
			rhubarb.LinkError(link(t, `{"task": "go.fixed", "args": [1], "options": {"queue": "go"}, "immutable": true}`))))(t)
		id := app.Send(t.Context(), call)[0].ID
		app.Result(id).Get(t.Context())
		stop()
		for _, d := range take(t, app, "go", 2) {
			task := must(celery.Decode(d.Message, celery.Limits{}))(t)
			if err := task.DecodeBody(); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"go.onerr": `["` + id + `"]`, "go.fixed": "[1]"}[task.Name]
			raw := must(json.Marshal(task.Args))(t)
			if string(raw) != want || task.Group == "" || task.GroupIndex == nil || task.ParentID != id {
				t.Errorf("%s was sent %s in group %q by %q; want %s", task.Name, raw, task.Group, task.ParentID, want)
			}
		}
		if s := must(app.Result(id).State(t.Context()))(t); kinds(t, s.Record) != "" {
			t.Errorf("record %s; want no children", s.Record)
		}
	})
}

func TestAStepThatCannotBeCalledEndsItsChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		call := must(add.Call(pair{1, 2}))(t)
		call.Chain = []rhubarb.Signature{link(t, `{"task": "last", "options": {"task_id": "last"}}`), link(t, `{"task": "add", "options": {"eta": {}}}`)}
		app.Send(t.Context(), call)
		if _, err := app.Result("last").Get(t.Context()); err == nil || !strings.Contains(err.Error(), "next step") {
			t.Errorf("the last step: %v; want a failure because of the one before", err)
		}
	})
}

func TestARejectedTaskEndsItsChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, projReject)
		call := must(projReject.Call(true))(t)
		call.Chain = []rhubarb.Signature{link(t, `{"task": "last", "options": {"task_id": "last"}}`)}
		app.Send(t.Context(), call)
		if s, err := app.Result("last").Get(t.Context()); err == nil || !strings.Contains(err.Error(), "REJECTED") {
			t.Errorf("the last step: %s, %v; want it rejected like the first", s, err)
		}
		if list := must(app.Engines().Broker.Shelved(t.Context(), engine.Dead, "", 9))(t); len(list) != 1 {
			t.Errorf("dead letters %v; want the first step", list)
		}
	})
}
