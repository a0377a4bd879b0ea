package celery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Result is the record of a task's state. celery/backends/base.py
// _get_result_meta. Raw values are as in [Task].
type Result struct {
	Status    string
	Result    json.RawMessage // nil is null
	Traceback *string
	Children  json.RawMessage // nil is []
	DateDone  time.Time       // only in ready states
	TaskID    string
	GroupID   string
	ParentID  string

	// With result_extended only: empty fields are not written. Args and Kwargs
	// are the values, or from old workers their reprs as text.
	Name    string
	Args    json.RawMessage
	Kwargs  json.RawMessage
	Worker  string
	Retries *int
	Queue   string

	// StampedHeaders are the names of stamps; their values are in Extra.
	StampedHeaders []string

	// Extra are all other fields.
	Extra map[string]json.RawMessage
}

// Append writes the record as JSON for Python.
func (r *Result) Append(b []byte) []byte {
	b = appendString(append(b, `{"status":`...), r.Status)
	b = appendRaw(append(b, `,"result":`...), r.Result, "null")
	b = append(b, `,"traceback":`...)
	if r.Traceback != nil {
		b = appendString(b, *r.Traceback)
	} else {
		b = append(b, "null"...)
	}
	b = appendRaw(append(b, `,"children":`...), r.Children, "[]")
	b = appendTime(append(b, `,"date_done":`...), r.DateDone)
	b = appendField(b, `,"group_id":`, r.GroupID)
	b = appendField(b, `,"parent_id":`, r.ParentID)
	b = r.appendExtended(b)
	if r.StampedHeaders != nil {
		b = appendTexts(append(b, `,"stamped_headers":`...), r.StampedHeaders)
	}
	b = appendMembers(b, r.Extra)
	b = appendString(append(b, `,"task_id":`...), r.TaskID)
	return append(b, '}')
}

func (r *Result) appendExtended(b []byte) []byte {
	b = appendField(b, `,"name":`, r.Name)
	if len(r.Args) > 0 {
		b = appendRaw(append(b, `,"args":`...), r.Args, "")
	}
	if len(r.Kwargs) > 0 {
		b = appendRaw(append(b, `,"kwargs":`...), r.Kwargs, "")
	}
	b = appendField(b, `,"worker":`, r.Worker)
	if r.Retries != nil {
		b = strconv.AppendInt(append(b, `,"retries":`...), int64(*r.Retries), 10)
	}
	return appendField(b, `,"queue":`, r.Queue)
}

func appendField(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(b, key...), s)
}

// MarshalJSON writes the record as JSON that encoding/json accepts: NaN and
// the infinities stay in this package's form.
func (r *Result) MarshalJSON() ([]byte, error) { return fromPeer(r.Append(nil)) }

// DecodeResult reads a record. Its raw values may alias data.
func DecodeResult(data []byte) (*Result, error) {
	r := &Result{}
	err := peerMembers(data, func(data []byte) func(key []byte, from, to int) error {
		*r = Result{}
		return func(key []byte, from, to int) error {
			if err := r.read(key, data[from:to:to]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
	})
	if err == nil && r.Status == "" {
		err = errors.New("the status is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return r, nil
}

func (r *Result) read(key []byte, raw json.RawMessage) (err error) {
	if p := r.textField(key); p != nil {
		*p, err = optional(raw)
		return err
	}
	switch string(key) {
	case "result":
		r.Result = raw
	case "children":
		r.Children = raw
	case "args":
		r.Args = raw
	case "kwargs":
		r.Kwargs = raw
	default:
		return r.readMore(key, raw)
	}
	return nil
}

// readMore reads the fields of which null means none.
func (r *Result) readMore(key []byte, raw json.RawMessage) (err error) {
	switch k := string(key); {
	case null(raw) && (k == "traceback" || k == "date_done" || k == "retries" || k == "stamped_headers"):
	case k == "traceback":
		var s string
		s, err = text(raw)
		r.Traceback = &s
	case k == "date_done":
		r.DateDone, err = readTime(raw)
	case k == "retries":
		var n int
		n, err = whole(string(raw))
		r.Retries = &n
	case k == "stamped_headers":
		r.StampedHeaders, err = texts(raw)
	default:
		if r.Extra == nil {
			r.Extra = map[string]json.RawMessage{}
		}
		r.Extra[k] = raw
	}
	return err
}

func (r *Result) textField(key []byte) *string {
	switch string(key) {
	case "status":
		return &r.Status
	case "task_id":
		return &r.TaskID
	case "group_id":
		return &r.GroupID
	case "parent_id":
		return &r.ParentID
	case "name":
		return &r.Name
	case "worker":
		return &r.Worker
	case "queue":
		return &r.Queue
	}
	return nil
}
