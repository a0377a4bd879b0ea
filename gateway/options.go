package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// callOption reads one option of a call.
type callOption func(raw json.RawMessage) (rhubarb.CallOption, error)

// callOptions are the options of a call by name: those of Celery's
// apply_async that a stranger may set. celery/app/task.py apply_async.
var callOptions = map[string]callOption{
	"countdown":       readCountdown,
	"eta":             readETA,
	"expires":         readExpires,
	"queue":           readQueue,
	"priority":        readPriority,
	"headers":         readHeaders,
	"task_id":         readTaskID,
	"ignore_result":   readIgnoreResult,
	"soft_time_limit": readLimit(func(c *rhubarb.Call, d time.Duration) { c.SoftLimit = d }),
	"time_limit":      readLimit(func(c *rhubarb.Call, d time.Duration) { c.HardLimit = d }),
}

// readOptions turns the options of a request into options of a call.
func readOptions(options map[string]json.RawMessage) (opts []rhubarb.CallOption, errs []FieldError) {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		read := callOptions[name]
		if read == nil {
			errs = append(errs, FieldError{"options." + name, "is not known: see /openapi.json for those that are"})
			continue
		}
		if string(options[name]) == "null" {
			continue
		}
		opt, err := read(options[name])
		if err != nil {
			errs = append(errs, FieldError{"options." + name, err.Error()})
			continue
		}
		opts = append(opts, opt)
	}
	_, countdown := options["countdown"]
	if _, eta := options["eta"]; eta && countdown {
		errs = append(errs, FieldError{"options.eta", "and countdown are both given: choose one"})
	}
	return opts, errs
}

// maxSeconds keeps times within what a time.Duration holds.
const maxSeconds = 1e9

func seconds(raw json.RawMessage) (time.Duration, error) {
	var s float64
	if json.Unmarshal(raw, &s) != nil {
		return 0, fmt.Errorf("must be a number of seconds, got %s", short(raw))
	}
	switch {
	case s < 0:
		return 0, fmt.Errorf("is negative (%s): use 0 or more seconds", short(raw))
	case s > maxSeconds:
		return 0, fmt.Errorf("is too large: at most %g seconds", maxSeconds)
	}
	return time.Duration(math.Round(s * float64(time.Second))), nil
}

func moment(raw json.RawMessage) (time.Time, error) {
	var t time.Time
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t, nil
		}
	}
	return t, fmt.Errorf("must be a time in RFC 3339 with a zone, such as 2030-01-31T08:00:00Z, got %s", short(raw))
}

func readCountdown(raw json.RawMessage) (rhubarb.CallOption, error) {
	d, err := seconds(raw)
	return rhubarb.Countdown(d), err
}

func readETA(raw json.RawMessage) (rhubarb.CallOption, error) {
	t, err := moment(raw)
	return rhubarb.ETA(t), err
}

func readExpires(raw json.RawMessage) (rhubarb.CallOption, error) {
	if typeOf(raw) == "string" {
		t, err := moment(raw)
		return rhubarb.Expires(t), err
	}
	d, err := seconds(raw)
	if err == nil && d == 0 {
		err = fmt.Errorf("is 0: the call would expire before it can start")
	}
	return rhubarb.ExpiresIn(d), err
}

func text(raw json.RawMessage, limit int) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("must be a string, got %s", short(raw))
	}
	if s == "" || len(s) > limit {
		return "", fmt.Errorf("has %d bytes, it needs 1 to %d", len(s), limit)
	}
	return s, nil
}

func readQueue(raw json.RawMessage) (rhubarb.CallOption, error) {
	s, err := text(raw, engine.MaxQueue)
	return rhubarb.Queue(s), err
}

func readTaskID(raw json.RawMessage) (rhubarb.CallOption, error) {
	s, err := text(raw, engine.MaxID)
	return rhubarb.TaskID(s), err
}

func readPriority(raw json.RawMessage) (rhubarb.CallOption, error) {
	var p int
	if json.Unmarshal(raw, &p) != nil || p < 0 || p > 9 {
		return nil, fmt.Errorf("must be an integer from 0 (first) to 9 (last), got %s", short(raw))
	}
	return rhubarb.Priority(p), nil
}

func readIgnoreResult(raw json.RawMessage) (rhubarb.CallOption, error) {
	var ignore bool
	if json.Unmarshal(raw, &ignore) != nil {
		return nil, fmt.Errorf("must be true or false, got %s", short(raw))
	}
	return func(c *rhubarb.Call) { c.IgnoreResult = ignore }, nil
}

func readHeaders(raw json.RawMessage) (rhubarb.CallOption, error) {
	var headers map[string]string
	if json.Unmarshal(raw, &headers) != nil {
		return nil, fmt.Errorf("must be an object of strings, got %s", short(raw))
	}
	return func(c *rhubarb.Call) {
		for k, v := range headers {
			rhubarb.Header(k, v)(c)
		}
	}, nil
}

func readLimit(set func(*rhubarb.Call, time.Duration)) callOption {
	return func(raw json.RawMessage) (rhubarb.CallOption, error) {
		d, err := seconds(raw)
		return func(c *rhubarb.Call) { set(c, d) }, err
	}
}

// short shows a value in a message.
func short(raw json.RawMessage) string {
	if len(raw) > 40 {
		return typeOf(raw)
	}
	return string(raw)
}
