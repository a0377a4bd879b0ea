package rhubarb

import (
	"encoding/json"
	"fmt"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Failed is the input of a task that is called because another one has failed,
// see [LinkError]: Celery's (request, exc, traceback). A worker that does not
// know the task, Python's among them, sends it the id alone.
type Failed struct {
	// ID is the failed task's.
	ID string

	// Task, RootID, ParentID, Retries, Args and Kwargs are the failed task's.
	// They are empty if only the id came.
	Task             string
	RootID, ParentID string
	Retries          int
	Args             []json.RawMessage
	Kwargs           map[string]json.RawMessage

	// Type, Module, Message and Traceback are as in [TaskError].
	Type, Module, Message, Traceback string
}

// failedRequest is what of a request goes to an error link, by Celery's names.
// celery/app/task.py Context.
type failedRequest struct {
	ID       string                     `json:"id"`
	Task     string                     `json:"task"`
	RootID   string                     `json:"root_id,omitempty"`
	ParentID string                     `json:"parent_id,omitempty"`
	Retries  int                        `json:"retries"`
	Args     []json.RawMessage          `json:"args"`
	Kwargs   map[string]json.RawMessage `json:"kwargs"`
}

// Arguments are (request, exc, traceback) as JSON, or the id if no more is
// known.
func (f Failed) Arguments() ([]json.RawMessage, error) {
	if f.Task == "" {
		raw, err := json.Marshal(f.ID)
		return []json.RawMessage{raw}, err
	}
	request, err := json.Marshal(failedRequest{f.ID, f.Task, f.RootID, f.ParentID, f.Retries, f.Args, f.Kwargs})
	if err != nil {
		return nil, &ArgumentError{"1", err.Error()}
	}
	trace := json.RawMessage("null")
	if f.Traceback != "" {
		if trace, err = celery.Marshal(f.Traceback); err != nil {
			return nil, &ArgumentError{"3", err.Error()}
		}
	}
	exc := celery.Exception{Type: f.Type, Module: f.Module}.With(f.Message).JSON()
	return []json.RawMessage{request, exc, trace}, nil
}

// decodeFailed reads (request, exc, traceback) or an id; arguments of the
// link's own may follow and are passed over.
func decodeFailed(args []json.RawMessage) (f Failed, err error) {
	if len(args) == 0 {
		return f, &ArgumentError{"", "takes the id of a failed task but nothing was given"}
	}
	if json.Unmarshal(args[0], &f.ID) == nil {
		return f, nil
	}
	var request failedRequest
	if err := json.Unmarshal(args[0], &request); err != nil {
		return f, &ArgumentError{"1", "want a task's id or its request: " + err.Error()}
	}
	if len(args) < 3 {
		return f, &ArgumentError{"", fmt.Sprintf("takes (request, exc, traceback) but %d arguments were given", len(args))}
	}
	f = Failed{ID: request.ID, Task: request.Task, RootID: request.RootID, ParentID: request.ParentID,
		Retries: request.Retries, Args: request.Args, Kwargs: request.Kwargs}
	if x, ok := celery.ExceptionOf(args[1]); ok {
		f.Type, f.Module, f.Message = x.Type, x.Module, x.Text()
	}
	if string(args[2]) != "null" {
		if err := celery.Unmarshal(args[2], &f.Traceback); err != nil {
			return f, &ArgumentError{"3", err.Error()}
		}
	}
	return f, nil
}
