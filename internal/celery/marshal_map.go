package celery

import (
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func mapEncoder(t reflect.Type) encoder {
	elem := later(t.Elem())
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		type entry struct {
			key   string
			value reflect.Value
		}
		entries := make([]entry, 0, v.Len())
		for it := v.MapRange(); it.Next(); {
			key, err := keyText(it.Key())
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry{key, it.Value()})
		}
		slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.key, y.key) })
		b = append(b, '{')
		for i, e := range entries {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = deeper(elem, append(appendString(b, e.key), ':'), e.value, depth); err != nil {
				return nil, fmt.Errorf("%.100s: %w", e.key, err)
			}
		}
		return append(b, '}'), nil
	}
}

// keyText returns a map key as encoding/json writes it.
func keyText(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		s, err := m.MarshalText()
		return string(s), err
	}
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", fmt.Errorf("a map key of type %s cannot be JSON", k.Type())
}

// member is a struct field as JSON shows it.
type member struct {
	name      string
	index     []int
	tagged    bool
	omitEmpty bool
	omitZero  bool
	isZero    func(reflect.Value) bool
	encode    encoder
}

func structEncoder(t reflect.Type) encoder {
	fields := membersOf(t)
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		b = append(b, '{')
		first := true
		for i := range fields {
			f := &fields[i]
			fv, err := v.FieldByIndexErr(f.index)
			if err != nil || f.omitEmpty && empty(fv) || f.omitZero && f.isZero(fv) {
				continue // an embedded nil pointer has no fields
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			if b, err = deeper(f.encode, append(appendString(b, f.name), ':'), fv, depth); err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
		}
		return append(b, '}'), nil
	}
}

// membersOf resolves a struct's fields by the rules of encoding/json: of those
// with one name the shallowest counts, then a tagged one, and else none.
func membersOf(t reflect.Type) []member {
	found := collect(nil, t, nil, map[reflect.Type]bool{})
	byName := map[string][]member{}
	for _, f := range found {
		byName[f.name] = append(byName[f.name], f)
	}
	out := found[:0:0]
	for _, f := range found {
		same := byName[f.name]
		wins := !slices.ContainsFunc(same, func(o member) bool {
			if slices.Equal(o.index, f.index) || len(o.index) > len(f.index) {
				return false
			}
			return len(o.index) < len(f.index) || o.tagged || !f.tagged
		})
		if wins {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(x, y member) int { return slices.CompareFunc(x.index, y.index, cmp.Compare[int]) })
	return out
}

// collect walks embedded structs; within holds those on the way here.
func collect(out []member, t reflect.Type, index []int, within map[reflect.Type]bool) []member {
	if within[t] {
		return out
	}
	within[t] = true
	defer delete(within, t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		ft := f.Type
		if ft.Kind() == reflect.Pointer && ft.Name() == "" {
			ft = ft.Elem()
		}
		if tag == "-" || !f.IsExported() && (!f.Anonymous || ft.Kind() != reflect.Struct) {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		path := append(slices.Clone(index), i)
		if f.Anonymous && name == "" && ft.Kind() == reflect.Struct {
			out = collect(out, ft, path, within)
			continue
		}
		if !f.IsExported() {
			continue
		}
		out = append(out, newMember(f, name, strings.Split(opts, ","), path))
	}
	return out
}

func newMember(f reflect.StructField, name string, opts []string, index []int) member {
	m := member{name: name, index: index, tagged: name != "", encode: later(f.Type),
		omitEmpty: slices.Contains(opts, "omitempty"), omitZero: slices.Contains(opts, "omitzero"),
		isZero: reflect.Value.IsZero}
	if name == "" {
		m.name = f.Name
	}
	if f.Type.Implements(reflect.TypeFor[interface{ IsZero() bool }]()) {
		m.isZero = func(v reflect.Value) bool {
			if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface) && v.IsNil() {
				return true
			}
			return v.Interface().(interface{ IsZero() bool }).IsZero()
		}
	}
	if slices.Contains(opts, "string") {
		m.encode = quoting(m.encode)
	}
	return m
}

// quoting is the tag option "string": numbers, booleans and strings inside a
// string.
func quoting(inner encoder) encoder {
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		switch v.Kind() {
		case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		default:
			return inner(b, v, depth)
		}
		raw, err := inner(nil, v, depth)
		if err == nil && !json.Valid(raw) {
			err = errors.New("NaN and infinities cannot be quoted")
		}
		return appendString(b, string(raw)), err
	}
}

// empty is what omitempty leaves out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
