package rhubarb

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Args are raw arguments, for tasks that take anything and for calls of tasks
// that this program does not define.
type Args struct {
	Args   []any
	Kwargs map[string]any
}

// Validator is an input that checks itself: at the call, so that the caller
// hears of it, and again at the worker.
type Validator interface{ Validate() error }

func (a Args) encode() ([]json.RawMessage, map[string]json.RawMessage, error) {
	args := make([]json.RawMessage, len(a.Args))
	for i, v := range a.Args {
		raw, err := celery.Marshal(v)
		if err != nil {
			return nil, nil, &ArgumentError{strconv.Itoa(i + 1), err.Error()}
		}
		args[i] = raw
	}
	kwargs := make(map[string]json.RawMessage, len(a.Kwargs))
	for k, v := range a.Kwargs {
		raw, err := celery.Marshal(v)
		if err != nil {
			return nil, nil, &ArgumentError{k, err.Error()}
		}
		kwargs[k] = raw
	}
	return args, kwargs, nil
}

// codec turns an input type into arguments and back. It is made once per task.
type codec[In any] struct {
	form   form
	fields []field
}

type form uint8

const (
	formScalar form = iota // one positional argument
	formStruct             // a field per argument
	formNone               // no argument
	formRaw                // Args
	formFailed             // Failed
)

type field struct {
	name     string
	index    []int
	typ      reflect.Type
	required bool
	omit     func(reflect.Value) bool // nil: always sent
}

func newCodec[In any]() *codec[In] {
	t := reflect.TypeFor[In]()
	switch {
	case t == reflect.TypeFor[Args]():
		return &codec[In]{form: formRaw}
	case t == reflect.TypeFor[Failed]():
		return &codec[In]{form: formFailed}
	case t == reflect.TypeFor[None]() || t.Kind() == reflect.Struct && t.NumField() == 0:
		return &codec[In]{form: formNone}
	case t.Kind() != reflect.Struct || selfCoded(t):
		return &codec[In]{form: formScalar}
	}
	return &codec[In]{form: formStruct, fields: structFields(t)}
}

// selfCoded reports whether a struct type has a JSON form of its own.
func selfCoded(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t == reflect.TypeFor[time.Time]() ||
		p.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// structFields lists the fields in order as encoding/json names them; those of
// embedded structs stand in their place.
func structFields(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct || !f.IsExported() || name == "-" && opts == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fd := field{name: name, index: f.Index, typ: f.Type}
		switch {
		case slices.Contains(strings.Split(opts, ","), "omitzero"):
			fd.omit = reflect.Value.IsZero
		case slices.Contains(strings.Split(opts, ","), "omitempty"):
			fd.omit = isEmpty
		}
		fd.required = fd.omit == nil && f.Type.Kind() != reflect.Pointer
		out = append(out, fd)
	}
	return out
}

// isEmpty is encoding/json's notion for omitempty.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Bool, reflect.Float32, reflect.Float64, reflect.Interface, reflect.Pointer,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return v.IsZero()
	}
	return false
}

func (c *codec[In]) params() []Param {
	switch c.form {
	case formStruct:
		ps := make([]Param, len(c.fields))
		for i, f := range c.fields {
			ps[i] = Param{Name: f.name, Type: jsonType(f.typ), Required: f.required}
		}
		return ps
	case formScalar:
		return []Param{{Name: "", Type: jsonType(reflect.TypeFor[In]()), Required: true}}
	case formNone:
		return []Param{}
	}
	return nil
}

func (c *codec[In]) encode(in In, positional bool) ([]json.RawMessage, map[string]json.RawMessage, error) {
	if err := validate(&in); err != nil {
		return nil, nil, err
	}
	switch c.form {
	case formNone:
		return nil, nil, nil
	case formRaw:
		return any(in).(Args).encode()
	case formFailed:
		args, err := any(in).(Failed).Arguments()
		return args, nil, err
	case formScalar:
		raw, err := celery.Marshal(in)
		if err != nil {
			return nil, nil, &ArgumentError{"1", err.Error()}
		}
		return []json.RawMessage{raw}, nil, nil
	}
	return c.encodeStruct(reflect.ValueOf(in), positional)
}

func (c *codec[In]) encodeStruct(v reflect.Value, positional bool) ([]json.RawMessage, map[string]json.RawMessage, error) {
	raws := make([]json.RawMessage, len(c.fields))
	last := 0 // one past the last field that must be sent
	for i, f := range c.fields {
		fv := v.FieldByIndex(f.index)
		omitted := f.omit != nil && f.omit(fv)
		if omitted && !positional {
			continue
		}
		raw, err := celery.Marshal(fv.Interface())
		if err != nil {
			return nil, nil, &ArgumentError{f.name, err.Error()}
		}
		raws[i] = raw
		if !omitted {
			last = i + 1
		}
	}
	if positional {
		return raws[:last], nil, nil
	}
	kwargs := make(map[string]json.RawMessage, len(raws))
	for i, raw := range raws {
		if raw != nil {
			kwargs[c.fields[i].name] = raw
		}
	}
	return nil, kwargs, nil
}

func (c *codec[In]) decode(args []json.RawMessage, kwargs map[string]json.RawMessage) (in In, err error) {
	switch c.form {
	case formNone:
		if n := len(args) + len(kwargs); n > 0 {
			return in, &ArgumentError{"", fmt.Sprintf("takes no arguments but %d were given", n)}
		}
		return in, nil
	case formRaw:
		a, err := decodeRaw(args, kwargs)
		if err != nil {
			return in, err
		}
		return any(a).(In), nil
	case formFailed:
		f, err := decodeFailed(args)
		return any(f).(In), err
	case formScalar:
		err = c.decodeScalar(&in, args, kwargs)
	default:
		err = c.decodeStruct(reflect.ValueOf(&in).Elem(), args, kwargs)
	}
	if err != nil {
		return in, err
	}
	return in, validate(&in)
}

func (c *codec[In]) decodeScalar(in *In, args []json.RawMessage, kwargs map[string]json.RawMessage) error {
	if len(args) == 1 && len(kwargs) == 0 {
		return decodeInto(in, args[0], "1")
	}
	// A Python caller may well have named the one argument; any name will do.
	if len(args) == 0 && len(kwargs) == 1 {
		for k, raw := range kwargs {
			return decodeInto(in, raw, k)
		}
	}
	return &ArgumentError{"", fmt.Sprintf("takes 1 argument but %d were given", len(args)+len(kwargs))}
}

func (c *codec[In]) decodeStruct(v reflect.Value, args []json.RawMessage, kwargs map[string]json.RawMessage) error {
	if len(args) > len(c.fields) {
		return &ArgumentError{"", fmt.Sprintf("takes %d positional arguments but %d were given", len(c.fields), len(args))}
	}
	found := 0
	for i, f := range c.fields {
		raw, named := kwargs[f.name]
		if named {
			found++
		}
		switch {
		case i < len(args) && named:
			return &ArgumentError{f.name, "got multiple values, by position and by name"}
		case i < len(args):
			raw = args[i]
		case !named && f.required:
			return &ArgumentError{f.name, "is required but missing"}
		case !named:
			continue
		}
		if err := decodeInto(v.FieldByIndex(f.index).Addr().Interface(), raw, f.name); err != nil {
			return err
		}
	}
	if found < len(kwargs) {
		return c.unexpected(kwargs)
	}
	return nil
}

func (c *codec[In]) unexpected(kwargs map[string]json.RawMessage) error {
	var extra []string
	for k := range kwargs {
		if !slices.ContainsFunc(c.fields, func(f field) bool { return f.name == k }) {
			extra = append(extra, k)
		}
	}
	slices.Sort(extra)
	return &ArgumentError{strings.Join(extra, ", "), "is not an argument of this task"}
}

// decodeInto reads one argument and says what is wrong with it in a caller's
// words.
func decodeInto(dst any, raw json.RawMessage, name string) error {
	err := celery.Unmarshal(raw, dst)
	if err == nil {
		return nil
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		where := name
		if typ.Field != "" {
			where += "." + typ.Field
		}
		return &ArgumentError{where, fmt.Sprintf("want %s, got %s", jsonType(typ.Type), typ.Value)}
	}
	return &ArgumentError{name, err.Error()}
}

func decodeRaw(args []json.RawMessage, kwargs map[string]json.RawMessage) (Args, error) {
	a := Args{Args: make([]any, len(args)), Kwargs: make(map[string]any, len(kwargs))}
	for i, raw := range args {
		v, err := decodeAny(raw, strconv.Itoa(i+1))
		if err != nil {
			return a, err
		}
		a.Args[i] = v
	}
	for k, raw := range kwargs {
		v, err := decodeAny(raw, k)
		if err != nil {
			return a, err
		}
		a.Kwargs[k] = v
	}
	return a, nil
}

// decodeAny keeps integers of any size exact, as json.Number.
func decodeAny(raw json.RawMessage, name string) (v any, err error) {
	plain, err := celery.Plain(raw)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(plain))
		d.UseNumber()
		err = d.Decode(&v)
	}
	if err != nil {
		return nil, &ArgumentError{name, err.Error()}
	}
	return v, nil
}

func validate(in any) error {
	v, ok := in.(Validator)
	if !ok {
		return nil
	}
	err := v.Validate()
	var wrong *ArgumentError
	if err == nil || errors.As(err, &wrong) {
		return err
	}
	return &ArgumentError{"", err.Error()}
}

// jsonType names the JSON type of a Go type for people and for OpenAPI.
func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if selfCoded(t) || t == reflect.TypeFor[[]byte]() {
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Map, reflect.Struct:
		return "object"
	}
	return "any"
}
