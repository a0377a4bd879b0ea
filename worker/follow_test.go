package worker_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

func TestLinksAreCalledWithTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		heard := make(chan string, 4)
		tell := rhubarb.Define("tell", func(ctx context.Context, a rhubarb.Args) (rhubarb.None, error) {
			inv := rhubarb.Current(ctx)
			heard <- strings.Join([]string{a.Args[0].(interface{ String() string }).String(), inv.ParentID, inv.RootID}, " ")
			return rhubarb.None{}, nil
		})
		run(t, app, nil, add, tell)
		res := must(add.Apply(t.Context(), app, pair{2, 3}, rhubarb.Link(tell.Partial())))(t)
		if got, want := <-heard, "5 "+res.ID()+" "+res.ID(); got != want {
			t.Errorf("the link was called with %q; want %q", got, want)
		}
		s := must(res.State(t.Context()))(t)
		if !strings.Contains(string(s.Record), `"children"`) || strings.Contains(string(s.Record), `"children":[]`) {
			t.Errorf("record %s; want the link among the children", s.Record)
		}
	})
}

func TestErrorLinksAreCalledWithTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		heard := make(chan string, 4)
		fail := rhubarb.Define("fail", func(context.Context, rhubarb.None) (int, error) { return 0, errBoom })
		onError := rhubarb.Define("on_error", func(_ context.Context, id string) (rhubarb.None, error) {
			heard <- id
			return rhubarb.None{}, nil
		})
		run(t, app, nil, fail, onError)
		res := must(fail.Apply(t.Context(), app, rhubarb.None{}, rhubarb.LinkError(onError.Partial())))(t)
		if got := <-heard; got != res.ID() {
			t.Errorf("the error link was called with %q; want %q", got, res.ID())
		}
	})
}

func TestAChainFromPythonRunsItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		run(t, app, nil, add)
		// add(1, 2) | add(10) | add(100), as Python sends it: last step first.
		m := engine.Message{ID: "root", Task: "add", ContentType: "application/json", ContentEncoding: "utf-8",
			Headers:    []byte(`{"lang":"py","task":"add","id":"root","root_id":"root","retries":0}`),
			Properties: []byte(`{"correlation_id":"root"}`),
			Body: []byte(`[[1,2],{},{"callbacks":null,"errbacks":null,"chord":null,"chain":[
				{"task":"add","args":[100],"kwargs":{},"options":{"task_id":"last"},"subtask_type":null,"immutable":false},
				{"task":"add","args":[10],"kwargs":{},"options":{"task_id":"middle"},"subtask_type":null,"immutable":false}]}]`)}
		if r := app.Engines().Broker.Publish(t.Context(), []engine.Publication{{Message: m, Queue: "celery"}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		last := rhubarb.ResultOf[int](app, "last")
		if n, err := last.Get(t.Context()); n != 113 || err != nil {
			t.Errorf("the chain's end is %d, %v; want 113", n, err)
		}
	})
}

func TestCallsInsideATaskAreItsChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := newApp(t)
		parent := rhubarb.Define("parent", func(ctx context.Context, _ rhubarb.None) (string, error) {
			res, err := add.Delay(ctx, rhubarb.AppOf(ctx), pair{1, 1})
			if err != nil {
				return "", err
			}
			return res.ID(), nil
		})
		run(t, app, nil, parent, add)
		res := must(parent.Delay(t.Context(), app, rhubarb.None{}))(t)
		child, err := res.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := must(res.State(t.Context()))(t)
		if !strings.Contains(string(s.Record), child) {
			t.Errorf("record %s does not name the child %s", s.Record, child)
		}
		if _, err := app.Result(child).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = must(app.Result(child).State(t.Context()))(t)
		if !strings.Contains(string(s.Record), `"parent_id":"`+res.ID()+`"`) && !strings.Contains(string(s.Record), `"parent_id": "`+res.ID()+`"`) {
			t.Errorf("record %s does not name the parent %s", s.Record, res.ID())
		}
	})
}

func TestMiddlewareWrapsBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		base := newApp(t)
		stamp := func(name string) func(rhubarb.SendFunc) rhubarb.SendFunc {
			return func(next rhubarb.SendFunc) rhubarb.SendFunc {
				return func(ctx context.Context, calls []*rhubarb.Call) []rhubarb.Sent {
					log = append(log, "send "+name)
					calls[0].Headers = map[string]string{"tenant": "t7"}
					return next(ctx, calls)
				}
			}
		}
		app := must(rhubarb.New(base.Engines(), &rhubarb.Options{
			Send: []func(rhubarb.SendFunc) rhubarb.SendFunc{stamp("outer"), stamp("inner")},
		}))(t)
		tenant := rhubarb.Define("tenant", func(ctx context.Context, _ rhubarb.None) (string, error) {
			return rhubarb.Current(ctx).Headers["tenant"], nil
		})
		run(t, app, nil, tenant)
		res := must(tenant.Delay(t.Context(), app, rhubarb.None{}))(t)
		if got, err := res.Get(t.Context()); got != "t7" || err != nil {
			t.Errorf("Get = %q, %v; want the header t7", got, err)
		}
		if strings.Join(log, ", ") != "send outer, send inner" {
			t.Errorf("middleware ran as %v", log)
		}
	})
}
