package gateway

import (
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb"
)

// ArgumentsError says what is wrong with the arguments of a call.
type ArgumentsError struct {
	Task   string
	Fields []FieldError
}

// FieldError says what is wrong with one part of a request.
type FieldError struct {
	Field   string `json:"field"` // a path such as kwargs.to, args[0] or options.eta
	Problem string `json:"problem"`
}

func (e *ArgumentsError) Error() string {
	return "call " + e.Task + ": " + join(e.Fields)
}

func join(errs []FieldError) string {
	texts := make([]string, len(errs))
	for i, e := range errs {
		texts[i] = e.Field + " " + e.Problem
	}
	return strings.Join(texts, "; ")
}

// NewCall makes a call from arguments that are JSON already. With def, the
// definition of the task, the arguments are checked, which may give an
// [*ArgumentsError], and its defaults hold; nil means that this program does
// not know the task. It keeps args and kwargs.
func NewCall(name string, def *rhubarb.Definition, args []json.RawMessage, kwargs map[string]json.RawMessage, opts ...rhubarb.CallOption) (*rhubarb.Call, error) {
	if def != nil {
		if errs := checkArguments(def.Params, args, kwargs); errs != nil {
			return nil, &ArgumentsError{name, errs}
		}
		opts = append(defaultOptions(def.Defaults), opts...)
	}
	c, err := rhubarb.NewCall(name, rhubarb.Args{}, opts...)
	if err != nil {
		return nil, err
	}
	c.Args, c.Kwargs = args, kwargs
	return c, nil
}

// defaultOptions are those of a known task, which a call's own come after.
func defaultOptions(d rhubarb.Defaults) []rhubarb.CallOption {
	opts := []rhubarb.CallOption{
		rhubarb.Queue(d.Queue), rhubarb.Priority(d.Priority), rhubarb.Limits(d.SoftLimit, d.HardLimit),
		func(c *rhubarb.Call) { c.IgnoreResult = d.IgnoreResult },
	}
	if d.Expires > 0 {
		opts = append(opts, rhubarb.ExpiresIn(d.Expires))
	}
	return opts
}

// Check completes a call as far as it takes for the app to check it whole, and
// returns what is wrong with it. Errors of sending it are then the engine's.
func Check(app *rhubarb.App, c *rhubarb.Call) error {
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	if c.Queue == "" {
		c.Queue = app.DefaultQueue()
	}
	_, err := app.Publication(c)
	return err
}
