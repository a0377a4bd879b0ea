package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Unmarshal reads a raw value of this package, or of Python, into a Go value
// as [Plain] and encoding/json do, and NaN and the infinities into floats,
// json.Number, Decimal and any.
func Unmarshal(raw json.RawMessage, dst any) error {
	data, err := ours(raw)
	if err != nil {
		return err
	}
	if bytes.IndexByte(data, '\\') < 0 || !bytes.Contains(data, []byte(bareMark)) {
		if data, err = plain(data, unknownOffset); err != nil {
			return err
		}
		return json.Unmarshal(data, dst)
	}
	s := newStandIns(data)
	if data, err = plain(remark(data, s.append), unknownOffset); err != nil {
		return err
	}
	if err := json.Unmarshal(data, dst); err != nil {
		return s.explain(err)
	}
	s.replace(reflect.ValueOf(dst), 0)
	return nil
}

// standIns are numbers that stand for what encoding/json cannot read, until
// the value is there and they are replaced. They do not occur in the text
// otherwise, and a float32 holds them exactly.
type standIns [len(bareWords)]struct {
	text  string
	value float64
}

func newStandIns(data []byte) standIns {
	var s standIns
	bits := uint32(0x7f12d687) // some number near 2e38
	for i := range s {
		for {
			bits++
			s[i].value = float64(math.Float32frombits(bits))
			s[i].text = strconv.FormatFloat(s[i].value, 'g', -1, 64)
			if !bytes.Contains(data, []byte(s[i].text)) {
				break
			}
		}
	}
	return s
}

var bareValues = [len(bareWords)]float64{math.NaN(), math.Inf(1), math.Inf(-1)}

func (s *standIns) append(b []byte, word string) []byte {
	for i, w := range bareWords {
		if w == word {
			return append(b, s[i].text...)
		}
	}
	return b
}

// explain puts Python's words into an error of encoding/json.
func (s *standIns) explain(err error) error {
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		for i, w := range bareWords {
			typ.Value = strings.ReplaceAll(typ.Value, s[i].text, w)
		}
	}
	return err
}

// replace walks a value that was just read and puts the floats in.
func (s *standIns) replace(v reflect.Value, depth int) {
	if depth > 2*maxDepth {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		s.replace(v.Elem(), depth+1)
	case reflect.Interface:
		if s.holds(v.Elem()) {
			v.Set(s.copied(v.Elem(), depth))
		}
	case reflect.Float32, reflect.Float64, reflect.String:
		s.scalar(v)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			s.bytes(v)
			return
		}
		for i := range v.Len() {
			s.replace(v.Index(i), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			v.SetMapIndex(it.Key(), s.copied(it.Value(), depth))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				s.replace(f, depth+1)
			}
		}
	}
}

// holds reports whether what an interface holds can be copied and replaced.
func (s *standIns) holds(v reflect.Value) bool {
	return v.IsValid() && v.Kind() != reflect.Pointer
}

// copied returns a replaced copy of a value that cannot be set in place.
func (s *standIns) copied(v reflect.Value, depth int) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	s.replace(c, depth+1)
	return c
}

func (s *standIns) scalar(v reflect.Value) {
	for i := range s {
		switch {
		case !v.CanSet():
		case v.CanFloat() && v.Float() == s[i].value:
			v.SetFloat(bareValues[i])
		case v.Kind() == reflect.String && v.String() == s[i].text:
			v.SetString(bareWords[i])
		}
	}
}

// bytes gives a json.RawMessage its marks again.
func (s *standIns) bytes(v reflect.Value) {
	if v.Type() != rawType || !v.CanSet() {
		return
	}
	raw := v.Bytes()
	for i, w := range bareWords {
		raw = bytes.ReplaceAll(raw, []byte(s[i].text), []byte(bareMark+w+`"`))
	}
	v.SetBytes(raw)
}
