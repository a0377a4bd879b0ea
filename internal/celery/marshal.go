package celery

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Marshal encodes a Go value as Python should see it: as encoding/json does,
// but a time.Time becomes a datetime and a []byte bytes, and NaN and the
// infinities are written as Python writes them.
func Marshal(v any) (json.RawMessage, error) {
	if v == nil {
		return json.RawMessage("null"), nil
	}
	t := reflect.TypeOf(v)
	if !needsOwn(t) {
		return json.Marshal(v)
	}
	return appendValue(nil, reflect.ValueOf(v), 0)
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	marshaler  = reflect.TypeFor[json.Marshaler]()
	texter     = reflect.TypeFor[encoding.TextMarshaler]()
	ownEncoded sync.Map // reflect.Type to bool
)

// needsOwn reports whether a type may hold what encoding/json writes in
// another form than Python's.
func needsOwn(t reflect.Type) bool {
	if own, ok := ownEncoded.Load(t); ok {
		return own.(bool)
	}
	own := holdsOwn(t, map[reflect.Type]bool{})
	ownEncoded.Store(t, own)
	return own
}

func holdsOwn(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	if t == timeType {
		return true
	}
	if t.Implements(marshaler) || t.Implements(texter) {
		return false
	}
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Interface:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8 || holdsOwn(t.Elem(), seen)
	case reflect.Array, reflect.Pointer, reflect.Map:
		return holdsOwn(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if holdsOwn(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func appendValue(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the value is nested more than %d levels deep", maxDepth)
	}
	if !v.IsValid() {
		return append(b, "null"...), nil
	}
	t := v.Type()
	if t == timeType {
		return append(b, appendSpecial(typeDateTime, v.Interface().(time.Time).Format(isoTime))...), nil
	}
	switch t.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return append(b, "null"...), nil
		}
	}
	if t.Implements(marshaler) || t.Implements(texter) || !needsOwn(t) {
		raw, err := json.Marshal(v.Interface())
		return append(b, raw...), err
	}
	switch t.Kind() {
	case reflect.Interface, reflect.Pointer:
		return appendValue(b, v.Elem(), depth+1)
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float(), t.Bits()), nil
	case reflect.Slice, reflect.Array:
		return appendList(b, v, depth)
	case reflect.Map:
		return appendMap(b, v, depth)
	case reflect.Struct:
		return appendStruct(b, v, depth)
	}
	raw, err := json.Marshal(v.Interface())
	return append(b, raw...), err
}

// appendFloat writes a float as Python's repr does.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, bits)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, bits)
	if !bytes.ContainsRune(b[start:], '.') {
		b = append(b, ".0"...)
	}
	return b
}

func appendList(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return append(b, "null"...), nil
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		raw, err := Bytes(v.Bytes()).MarshalJSON()
		return append(b, raw...), err
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.IsNil() {
		return append(b, "null"...), nil
	}
	if v.Type().Key().Kind() != reflect.String {
		raw, err := json.Marshal(v.Interface())
		return append(b, raw...), err
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(append(appendString(b, k.String()), ':'), v.MapIndex(k), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendStruct(b []byte, v reflect.Value, depth int) ([]byte, error) {
	b = append(b, '{')
	first := true
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct || !f.IsExported() || name == "-" && opts == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fv, err := v.FieldByIndexErr(f.Index)
		if err != nil || omitted(fv, strings.Split(opts, ",")) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		if b, err = appendValue(append(appendString(b, name), ':'), fv, depth+1); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return append(b, '}'), nil
}

func omitted(v reflect.Value, opts []string) bool {
	if slices.Contains(opts, "omitzero") && v.IsZero() {
		return true
	}
	if !slices.Contains(opts, "omitempty") {
		return false
	}
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
