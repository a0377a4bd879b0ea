package celery

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"sync"
	"time"
)

// maxValueDepth is how deep a value of Marshal may be nested; it leaves room
// for the message around it.
const maxValueDepth = maxDepth - 100

// Marshal encodes a Go value as Python should see it: as encoding/json does,
// but a time.Time becomes a datetime and a []byte bytes, a float looks like
// one (1.0, not 1), and NaN and the infinities are written as Python writes
// them, bare. It may be called at once; what is known of a type is worked out
// once.
func Marshal(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case string:
		return appendString(make([]byte, 0, len(v)+2), v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	}
	return encoderOf(reflect.TypeOf(v))(nil, reflect.ValueOf(v), 0)
}

// encoder appends a value of one type.
type encoder func(b []byte, v reflect.Value, depth int) ([]byte, error)

var (
	timeType   = reflect.TypeFor[time.Time]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	signType   = reflect.TypeFor[Signature]()
	numberType = reflect.TypeFor[json.Number]()
	marshaler  = reflect.TypeFor[json.Marshaler]()
	texter     = reflect.TypeFor[encoding.TextMarshaler]()

	encoders sync.Map // reflect.Type to encoder
)

func encoderOf(t reflect.Type) encoder {
	if e, ok := encoders.Load(t); ok {
		return e.(encoder)
	}
	e := newEncoder(t)
	encoders.Store(t, e)
	return e
}

// later finds the encoder of a part when it is first needed, so that a type
// may hold itself.
func later(t reflect.Type) encoder {
	find := sync.OnceValue(func() encoder { return encoderOf(t) })
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) { return find()(b, v, depth) }
}

func newEncoder(t reflect.Type) encoder {
	switch {
	case t == timeType:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			return appendDateTime(b, v.Interface().(time.Time), false)
		}
	case t == rawType:
		return encodeRaw
	case t == signType:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			s := v.Interface().(Signature)
			return s.append(b), nil
		}
	case t.Kind() == reflect.Pointer && !holdsJSON(t.Elem()):
		return pointerEncoder(t)
	case selfEncoding(t) || !holdsOwn(t, map[reflect.Type]bool{}):
		return encodeJSON
	}
	switch t.Kind() {
	case reflect.Pointer:
		return pointerEncoder(t)
	case reflect.Interface:
		return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
			if v.IsNil() {
				return append(b, "null"...), nil
			}
			return deeper(encoderOf(v.Elem().Type()), b, v.Elem(), depth)
		}
	case reflect.Float32, reflect.Float64:
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			return appendFloat(b, v.Float(), t.Bits()), nil
		}
	case reflect.Slice, reflect.Array:
		return listEncoder(t)
	case reflect.Map:
		return mapEncoder(t)
	case reflect.Struct:
		return structEncoder(t)
	}
	return encodeJSON
}

// holdsJSON reports whether a value of the type, or what it points to, is
// encoded by a method of its own.
func holdsJSON(t reflect.Type) bool { return !special(t) && selfEncoding(t) }

// special types have an encoder here that differs from their own.
func special(t reflect.Type) bool { return t == timeType || t == rawType || t == signType }

// selfEncoding reports whether a type has a method that encodes it, perhaps on
// its pointer.
func selfEncoding(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return !special(t) && (p.Implements(marshaler) || p.Implements(texter)) || t == numberType
}

// holdsOwn reports whether a type may hold what encoding/json writes in
// another form than Python's.
func holdsOwn(t reflect.Type, seen map[reflect.Type]bool) bool {
	if special(t) {
		return true
	}
	if seen[t] || t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && selfEncoding(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Interface:
		return true
	case reflect.Slice:
		return isBytes(t) || holdsOwn(t.Elem(), seen)
	case reflect.Array, reflect.Pointer, reflect.Map:
		return holdsOwn(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsOwn(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// isBytes reports whether encoding/json writes the slice as base64.
func isBytes(t reflect.Type) bool { return t.Elem().Kind() == reflect.Uint8 && !selfEncoding(t.Elem()) }

func deeper(e encoder, b []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth >= maxValueDepth {
		return nil, fmt.Errorf("the value is nested more than %d levels deep", maxValueDepth)
	}
	return e(b, v, depth+1)
}

// encodeJSON leaves a value to encoding/json. A method on the pointer counts
// also where the value has no address: big.Int has it there.
func encodeJSON(b []byte, v reflect.Value, _ int) ([]byte, error) {
	t := v.Type()
	if k := t.Kind(); k != reflect.Pointer && k != reflect.Interface && t != numberType && selfEncoding(t) {
		if !v.CanAddr() {
			w := reflect.New(t).Elem()
			w.Set(v)
			v = w
		}
		v = v.Addr()
	}
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, err
	}
	if bytes.Contains(raw, []byte(bareMark)) {
		raw = mark(raw, appendUnlike) // strings of the value's own
	}
	return append(b, raw...), nil
}

// encodeRaw takes JSON as it is, bare words included.
func encodeRaw(b []byte, v reflect.Value, _ int) ([]byte, error) {
	raw := v.Bytes()
	if len(raw) == 0 {
		return append(b, "null"...), nil
	}
	c := checker{raw: raw}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("raw JSON: %w", err)
	}
	return append(b, raw...), nil
}

func pointerEncoder(t reflect.Type) encoder {
	elem := later(t.Elem())
	return func(b []byte, v reflect.Value, depth int) ([]byte, error) {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		return deeper(elem, b, v.Elem(), depth)
	}
}

func listEncoder(t reflect.Type) encoder {
	if t.Kind() == reflect.Slice && isBytes(t) {
		return func(b []byte, v reflect.Value, _ int) ([]byte, error) {
			if v.IsNil() {
				return append(b, "null"...), nil
			}
			return appendBytes(b, v.Bytes()), nil
		}
	}
	elem := later(t.Elem())
	return func(b []byte, v reflect.Value, depth int) (_ []byte, err error) {
		if t.Kind() == reflect.Slice && v.IsNil() {
			return append(b, "null"...), nil
		}
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = deeper(elem, b, v.Index(i), depth); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
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
