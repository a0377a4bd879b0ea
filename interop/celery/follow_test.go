package celery_test

import (
	"testing"

	"github.com/google/uuid"
)

// follows checks that a call came from another of the run, by its record.
func (r *run) follows(c, parent *call, want end) {
	r.Helper()
	r.ends(c, want)
	rec := r.stored(c, want)
	if rec.ParentID != parent.ID {
		r.Errorf("the parent of %s is %q, want %q", c.Task, rec.ParentID, parent.ID)
	}
}

// linked sends a call with callbacks.
func linked(c *call, link, linkError []*call) func(*run) *call {
	return func(*run) *call {
		c := *c
		c.Link, c.LinkError = copies(link), copies(linkError)
		return &c
	}
}

func copies(calls []*call) []*call {
	out := make([]*call, len(calls))
	for i, c := range calls {
		fresh := *c
		out[i] = &fresh
	}
	return out
}

func fixedly(c *call) *call { c.Immutable = true; return c }

// other is a kind of worker that is not this one.
func (r *run) other() kind {
	for _, k := range kinds {
		if k != r.to && k != oldest {
			return k
		}
	}
	return oldest
}

var followUps = []scenario{
	{
		name: "link", send: linked(one("add", 2, 3), []*call{one("add", 10)}, nil),
		want: succeeded(5), events: ordinary,
		after: func(r *run) {
			r.follows(r.call.Link[0], r.call, succeeded(15))
			r.heard(r.call.Link[0], ordinary)
		},
	},
	{
		name: "two links, one of them immutable",
		send: linked(one("add", 2, 3), []*call{one("add", 10), fixedly(one("add", 1, 1))}, nil),
		want: succeeded(5), events: ordinary,
		after: func(r *run) {
			r.follows(r.call.Link[0], r.call, succeeded(15))
			r.follows(r.call.Link[1], r.call, succeeded(2))
		},
	},
	{
		name: "link_error", send: linked(one("fail", "oh no", 1), []*call{one("add", 1)}, []*call{one("remember")}),
		want: failed("ValueError", "oh no"), events: failure,
		after: func(r *run) { r.ends(r.call.LinkError[0], succeeded(r.call.ID)) },
	},
	{
		name: "chain",
		send: func(*run) *call {
			c := one("add", 2, 3)
			c.Then = []*call{one("add", 10), one("add", 100)}
			return c
		},
		want: succeeded(115), events: ordinary,
		after: func(r *run) {
			r.ends(r.call, succeeded(5))
			r.follows(r.call.Then[0], r.call, succeeded(15))
			r.follows(r.call.Then[1], r.call.Then[0], succeeded(115))
		},
	},
	{
		name: "chain whose steps change sides",
		send: func(r *run) *call {
			c := one("add", 2, 3)
			c.Then = []*call{one("add", 10), one("about")}
			c.Then[0].Queue = r.other().queue(false)
			c.Then[1].Args = nil
			c.Then[1].Immutable = true
			return c
		},
		after: func(r *run) {
			steps := r.call.Then
			r.follows(steps[0], r.call, succeeded(15))
			r.follows(steps[1], steps[0], succeeded(object{
				"id": steps[1].ID, "root_id": r.call.ID, "parent_id": steps[0].ID, "retries": 0, "queue": r.queue(),
			}))
		},
	},
	{
		name: "chain with a step that fails",
		send: func(*run) *call {
			c := one("add", 2, 3)
			c.Then = []*call{one("fail", "too much"), one("add", 100)}
			return c
		},
		after: func(r *run) {
			r.follows(r.call.Then[0], r.call, failed("ValueError", "too much"))
			r.heard(r.call.Then[0], failure)
		},
	},
	{
		name: "a task that sends a task",
		send: func(r *run) *call { return one("parent", r.queue(), uuid.NewString()) },
		after: func(r *run) {
			child := r.call.Args[1].(string)
			r.ends(r.call, succeeded(child))
			r.same("children", r.stored(r.call, succeeded(child)).Children, []any{[]any{[]any{child, nil}, nil}}, bare)
			c := one("add")
			c.ID = child
			r.follows(c, r.call, succeeded(42))
		},
	},
}

func TestFollowUps(t *testing.T) { check(t, followUps) }
