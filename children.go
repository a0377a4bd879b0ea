package rhubarb

import (
	"encoding/json"
	"sync"
)

// Children collects the ids of the tasks that a task has sent. The zero value
// is empty. It may be used by any number of goroutines.
type Children struct {
	mu  sync.Mutex
	ids []string
}

// maxChildren bounds what a task's record keeps of them.
const maxChildren = 1000

// Add notes a child. Those after the first 1,000 are not kept.
func (c *Children) Add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) < maxChildren {
		c.ids = append(c.ids, id)
	}
}

// JSON returns the field "children" of a result: a list of result tuples
// [[id, null], null]. celery/result.py AsyncResult.as_tuple.
func (c *Children) JSON() json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) == 0 {
		return json.RawMessage("[]")
	}
	tuples := make([][2]any, len(c.ids))
	for i, id := range c.ids {
		tuples[i] = [2]any{[2]any{id, nil}, nil}
	}
	raw, err := json.Marshal(tuples)
	if err != nil { // strings always encode
		return json.RawMessage("[]")
	}
	return raw
}
