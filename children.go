package rhubarb

import (
	"encoding/json"
	"sync"
)

// Children collects the ids of the tasks that a task has sent. The zero value
// is empty. It may be used by any number of goroutines.
type Children struct {
	mu    sync.Mutex
	nodes []child
	count int // ids in nodes
}

// child is a task, or a group with its members.
type child struct {
	id      string
	members []string
}

// maxChildren bounds what a task's record keeps of them.
const maxChildren = 1000

// Add notes a child. Those after the first 1,000 are not kept.
func (c *Children) Add(id string) { c.add(child{id: id}, 1) }

// AddGroup notes a group of tasks as one child. It is left out where it would
// make more than 1,000.
func (c *Children) AddGroup(id string, members []string) {
	c.add(child{id, append(make([]string, 0, len(members)), members...)}, 1+len(members))
}

func (c *Children) add(n child, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count+size <= maxChildren {
		c.nodes, c.count = append(c.nodes, n), c.count+size
	}
}

// JSON returns the field "children" of a result: a list of result tuples
// [[id, null], null], and for a group [[id, null], [tuple, …]].
// celery/result.py AsyncResult.as_tuple, GroupResult.as_tuple.
func (c *Children) JSON() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.nodes) == 0 {
		return json.RawMessage("[]")
	}
	tuples := make([]any, len(c.nodes))
	for i, n := range c.nodes {
		tuples[i] = n.tuple()
	}
	raw, err := json.Marshal(tuples)
	if err != nil { // strings always encode
		return json.RawMessage("[]")
	}
	return raw
}

func (n child) tuple() any {
	self := [2]any{n.id, nil}
	if n.members == nil {
		return [2]any{self, nil}
	}
	members := make([]any, len(n.members))
	for i, id := range n.members {
		members[i] = [2]any{[2]any{id, nil}, nil}
	}
	return [2]any{self, members}
}
