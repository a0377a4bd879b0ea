package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/rhubarb-go/rhubarb"
)

// checkArguments compares the arguments of a call with what the task takes,
// and returns all that is wrong, in the order of the parameters.
func checkArguments(params []rhubarb.Param, args []json.RawMessage, kwargs map[string]json.RawMessage) []FieldError {
	switch {
	case params == nil: // the task takes anything
		return nil
	case len(params) == 1 && params[0].Name == "":
		return checkSingle(params[0], args, kwargs)
	}
	var errs []FieldError
	if len(args) > len(params) {
		errs = append(errs, FieldError{"args", fmt.Sprintf("has %d values, the task takes %d", len(args), len(params))})
	}
	for i, p := range params {
		raw, named := kwargs[p.Name]
		byPlace := i < len(args)
		field := "kwargs." + p.Name
		if byPlace {
			field = fmt.Sprintf("args[%d]", i)
		}
		switch {
		case byPlace && named:
			errs = append(errs, FieldError{"kwargs." + p.Name, fmt.Sprintf("is given by name and by place (%s)", field)})
			continue
		case byPlace:
			raw = args[i]
		case !named && p.Required:
			errs = append(errs, FieldError{field, "is required but missing"})
			continue
		case !named:
			continue
		}
		errs = checkType(errs, field, p, raw)
	}
	for _, name := range slices.Sorted(maps.Keys(kwargs)) {
		if !slices.ContainsFunc(params, func(p rhubarb.Param) bool { return p.Name == name }) {
			errs = append(errs, FieldError{"kwargs." + name, "is not an argument of this task"})
		}
	}
	return errs
}

// checkSingle checks the call of a task with one nameless argument, which
// comes by place or, since Python callers may name it, under any one name.
func checkSingle(p rhubarb.Param, args []json.RawMessage, kwargs map[string]json.RawMessage) []FieldError {
	switch {
	case len(args) == 1 && len(kwargs) == 0:
		return checkType(nil, "args[0]", p, args[0])
	case len(args) == 0 && len(kwargs) == 1:
		for name, raw := range kwargs {
			return checkType(nil, "kwargs."+name, p, raw)
		}
	case len(args)+len(kwargs) == 0:
		return []FieldError{{"args[0]", "is required but missing"}}
	}
	return []FieldError{{"args", fmt.Sprintf("and kwargs have %d values, the task takes 1", len(args)+len(kwargs))}}
}

func checkType(errs []FieldError, field string, p rhubarb.Param, raw json.RawMessage) []FieldError {
	if got := typeOf(raw); !fits(p.Type, got, raw) {
		return append(errs, FieldError{field, fmt.Sprintf("must be %s %s, got %s %s", article(p.Type), p.Type, article(got), got)})
	}
	return errs
}

// fits reports whether a value may be what a parameter of the type takes. A
// null is any type's zero value, and an object that bears "__type__" is one of
// kombu's special values, whose kind the worker knows.
func fits(want, got string, raw json.RawMessage) bool {
	switch {
	case want == "any" || want == got || got == "null":
		return true
	case want == "number":
		return got == "integer"
	case got == "object":
		return bytes.Contains(raw, []byte(`"__type__"`))
	}
	return false
}

// typeOf names the JSON type of a valid value. A number without fraction and
// exponent is an integer, as in Go.
func typeOf(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '"':
		return "string"
	case '[':
		return "array"
	case '{':
		return "object"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	if bytes.ContainsAny(raw, ".eE") {
		return "number"
	}
	return "integer"
}

func article(typ string) string {
	switch typ {
	case "array", "object", "integer":
		return "an"
	case "null":
		return "the value"
	}
	return "a"
}
