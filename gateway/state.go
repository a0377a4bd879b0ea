package gateway

import (
	"encoding/json"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// State is a task's state as clients get it: the answer of GET /tasks/{id}.
type State struct {
	ID       string          `json:"id"`
	Status   string          `json:"status"`
	Ready    bool            `json:"ready"`
	Attempt  int             `json:"attempt"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *StateError     `json:"error,omitempty"`
	Progress *StateProgress  `json:"progress,omitempty"`
	Meta     json.RawMessage `json:"meta,omitempty"`
	Updated  *time.Time      `json:"updated,omitempty"`
	DateDone string          `json:"date_done,omitempty"`
}

// StateError is what went wrong. It leaves the traceback out: that is for the
// operator, in the logs and the record.
type StateError struct {
	Type    string `json:"type"`
	Module  string `json:"module,omitempty"`
	Message string `json:"message"`
}

// StateProgress is how far a task is.
type StateProgress struct {
	Current int `json:"current"`
	Total   int `json:"total"`
}

// StateOf writes a state for clients.
func StateOf(s rhubarb.State) State {
	d := State{ID: s.ID, Status: s.Status, Ready: s.Ready(), Attempt: s.Attempt}
	if !s.Time.IsZero() {
		at := s.Time.UTC()
		d.Updated = &at
	}
	var rec struct {
		DateDone string `json:"date_done"`
	}
	if json.Unmarshal(s.Record, &rec) == nil {
		d.DateDone = rec.DateDone
	}
	switch {
	case s.Status == engine.Success:
		d.Result = s.Meta
		if len(s.Meta) == 0 {
			d.Result = json.RawMessage("null")
		}
	case s.Err != nil:
		d.Error = &StateError{Type: s.Err.Type, Module: s.Err.Module, Message: s.Err.Message}
	case !s.Ready() && len(s.Meta) > 0:
		d.Meta = s.Meta
	}
	if current, total, ok := s.Progress(); ok {
		d.Progress = &StateProgress{current, total}
	}
	return d
}
