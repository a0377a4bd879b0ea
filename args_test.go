package rhubarb

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

type mail struct {
	To      string    `json:"to"`
	Subject string    `json:"subject,omitempty"`
	Copies  *int      `json:"copies"`
	When    time.Time `json:"when,omitzero"`
	Data    []byte    `json:"data,omitempty"`
	hidden  int
	Skip    int `json:"-"`
}

func raws(t *testing.T, list string) []json.RawMessage {
	t.Helper()
	var out []json.RawMessage
	if err := json.Unmarshal([]byte(list), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func rawMap(t *testing.T, object string) map[string]json.RawMessage {
	t.Helper()
	var out map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStructArguments(t *testing.T) {
	two := 2
	when := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := []struct {
		name, args, kwargs string
		want               mail
	}{
		{"by name", `[]`, `{"to":"a","subject":"s"}`, mail{To: "a", Subject: "s"}},
		{"by position", `["a","s",2]`, `{}`, mail{To: "a", Subject: "s", Copies: &two}},
		{"mixed", `["a"]`, `{"copies":2}`, mail{To: "a", Copies: &two}},
		{"null for a pointer", `["a"]`, `{"copies":null}`, mail{To: "a"}},
		{"python's datetime", `["a"]`, `{"when":{"__type__":"datetime","__value__":"2030-01-02T03:04:05+00:00"}}`, mail{To: "a", When: when}},
		{"python's bytes", `["a"]`, `{"data":{"__type__":"base64","__value__":"AP8="}}`, mail{To: "a", Data: []byte{0, 0xff}}},
	}
	c := newCodec[mail]()
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			got, err := c.decode(raws(t, k.args), rawMap(t, k.kwargs))
			if err != nil || !got.When.Equal(k.want.When) {
				t.Fatalf("decode(%s, %s) = %+v, %v; want %+v", k.args, k.kwargs, got, err, k.want)
			}
			got.When = k.want.When
			if !reflect.DeepEqual(got, k.want) {
				t.Errorf("decode(%s, %s) = %+v; want %+v", k.args, k.kwargs, got, k.want)
			}
		})
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	c := newCodec[mail]()
	cases := []struct{ name, args, kwargs, argument, problem string }{
		{"missing", `[]`, `{}`, "to", "required"},
		{"unknown", `["a"]`, `{"cc":"b","bcc":1}`, "bcc, cc", "not an argument"},
		{"twice", `["a"]`, `{"to":"b"}`, "to", "multiple values"},
		{"too many", `["a","b",1,null,null,6]`, `{}`, "", "takes 5 positional arguments but 6 were given"},
		{"wrong type", `[5]`, `{}`, "to", "want string, got number"},
		{"wrong type by name", `["a"]`, `{"copies":"two"}`, "copies", "want integer, got string"},
		{"bad time", `["a"]`, `{"when":"yesterday"}`, "when", "yesterday"},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			_, err := c.decode(raws(t, k.args), rawMap(t, k.kwargs))
			var wrong *ArgumentError
			if !errors.As(err, &wrong) || wrong.Argument != k.argument || !strings.Contains(wrong.Problem, k.problem) {
				t.Errorf("decode(%s, %s): %v; want argument %q: …%s…", k.args, k.kwargs, err, k.argument, k.problem)
			}
		})
	}
}

func TestArgumentsRoundTrip(t *testing.T) {
	in := mail{To: "ü", When: time.Date(2031, 5, 6, 7, 8, 9, 123000, time.UTC), Data: []byte("x"), hidden: 1}
	c := newCodec[mail]()
	for _, positional := range []bool{false, true} {
		args, kwargs, err := c.encode(in, positional)
		if err != nil {
			t.Fatal(err)
		}
		if positional != (len(args) > 0) || positional == (len(kwargs) > 0) {
			t.Errorf("positional %v: %d args and %d kwargs", positional, len(args), len(kwargs))
		}
		out, err := c.decode(args, kwargs)
		if err != nil || !out.When.Equal(in.When) {
			t.Fatalf("decode(encode(%+v)) = %+v, %v", in, out, err)
		}
		out.When, out.hidden = in.When, in.hidden // unexported fields stay at home
		if !reflect.DeepEqual(out, in) {
			t.Errorf("decode(encode(%+v)) = %+v", in, out)
		}
	}
}

func TestScalarArgument(t *testing.T) {
	c := newCodec[int]()
	for _, k := range []struct{ args, kwargs string }{{`[7]`, `{}`}, {`[]`, `{"n":7}`}} {
		if n, err := c.decode(raws(t, k.args), rawMap(t, k.kwargs)); n != 7 || err != nil {
			t.Errorf("decode(%s, %s) = %d, %v; want 7", k.args, k.kwargs, n, err)
		}
	}
	for _, k := range []struct{ args, kwargs string }{{`[]`, `{}`}, {`[1,2]`, `{}`}, {`["x"]`, `{}`}, {`[1.5]`, `{}`}} {
		if n, err := c.decode(raws(t, k.args), rawMap(t, k.kwargs)); err == nil {
			t.Errorf("decode(%s, %s) = %d; want an error", k.args, k.kwargs, n)
		}
	}
}

func TestRawArgumentsKeepBigIntegers(t *testing.T) {
	c := newCodec[Args]()
	a, err := c.decode(raws(t, `[1152921504606846977]`), rawMap(t, `{"k":[1]}`))
	if err != nil || a.Args[0] != json.Number("1152921504606846977") {
		t.Errorf("decode = %v, %v; want the integer exactly", a, err)
	}
}

type checked struct {
	N int `json:"n"`
}

func (c checked) Validate() error {
	if c.N < 0 {
		return &ArgumentError{"n", "must not be negative"}
	}
	return nil
}

func TestValidatorRunsOnBothSides(t *testing.T) {
	c := newCodec[checked]()
	var wrong *ArgumentError
	if _, _, err := c.encode(checked{-1}, false); !errors.As(err, &wrong) || wrong.Argument != "n" {
		t.Errorf("encode: %v; want an error about n", err)
	}
	if _, err := c.decode(nil, rawMap(t, `{"n":-1}`)); !errors.As(err, &wrong) || wrong.Argument != "n" {
		t.Errorf("decode: %v; want an error about n", err)
	}
}
