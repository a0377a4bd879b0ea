package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// FuzzCall reads bodies of calls: it never panics, what it refuses is the
// client's fault and told in valid UTF-8, and what it accepts is valid JSON
// that a call can be made of.
func FuzzCall(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"args":[1,"a",null],"kwargs":{"x":{"__type__":"datetime","__value__":"2030-01-01"}}}`,
		`{"options":{"countdown":1e400,"eta":"2030-01-01T00:00:00Z","headers":{"a":"b"}}}`,
		`{"options":{"expires":-0,"task_id":"\ud800"}}`, "{\"args\":[\"\xff\"]}", `{"args":[}`, `[[[[`,
		`{"kwargs":{"a":1,"a":"2"},"args":[true]}`,
	} {
		f.Add([]byte(s))
	}
	params := []rhubarb.Param{{Name: "a", Type: "integer", Required: true}, {Name: "x", Type: "string"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCall(body)
		if err != nil {
			var p problem
			if !errors.As(err, &p) || p.Status != http.StatusBadRequest && p.Status != http.StatusUnprocessableEntity {
				t.Errorf("parse %q: got %v, want a problem of the client's", body, err)
			}
			if !utf8.ValidString(p.Detail) {
				t.Errorf("parse %q: detail %q is not UTF-8", body, p.Detail)
			}
			return
		}
		for _, raw := range c.args {
			if !json.Valid(raw) {
				t.Errorf("parse %q: argument %q is not JSON", body, raw)
			}
		}
		checkArguments(params, c.args, c.kwargs)
		checkArguments(params[:1], c.args, c.kwargs)
		opts, _ := readOptions(c.options)
		if _, err := NewCall("t", nil, c.args, c.kwargs, opts...); err != nil {
			t.Errorf("call of %q: %v", body, err)
		}
	})
}

// FuzzEvent reads what clients send to groups: what is refused is told as their
// fault, and what is taken comes out as the JSON that it would come from.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"type":"chat.message","message":"hello","n":[1,-1.5,1e300,18446744073709551615,null,true,{"a":{}}]}`,
		`{"type":"x","type":"y"}`, `{"type":1}`, `{"type":"_x"}`, "{\"type\":\"\xff\"}", `{"type":"x","a":"\ud800"}`, `{"TYPE":"x"}`, `{"type":"x","":0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := eventOf(body)
		if err != nil {
			var p problem
			if !errors.As(err, &p) && !errors.Is(err, engine.ErrLimit) || p.Status != 0 && p.Status != http.StatusBadRequest && p.Status != http.StatusUnprocessableEntity {
				t.Errorf("%q: got %v, want a problem of the client's", body, err)
			}
			return
		}
		first, err := e.JSON()
		if err != nil {
			t.Fatalf("%q was taken and cannot be written: %v", body, err)
		}
		again, err := eventOf(first)
		if err != nil {
			t.Fatalf("%q was written as %q, which is refused: %v", body, first, err)
		}
		if second, err := again.JSON(); err != nil || string(second) != string(first) || again.Type != e.Type {
			t.Errorf("%q became %q, then %q, %v", body, first, second, err)
		}
	})
}

func TestPlaceCountsFromOne(t *testing.T) {
	for _, c := range []struct {
		body string
		at   int
		want string
	}{
		{"abc", 0, "line 1 column 1"},
		{"abc", 2, "line 1 column 3"},
		{"a\nbc", 2, "line 2 column 1"},
		{"a\n", 9, "line 2 column 1"},
	} {
		if got := place([]byte(c.body), c.at); got != c.want {
			t.Errorf("place(%q, %d): got %s, want %s", c.body, c.at, got, c.want)
		}
	}
}
