package channels

import (
	"errors"
	"testing"
)

func TestJSONBothWays(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                `{"type":"x"}`,
		`null`:                              `{"type":"x"}`,
		`{"n": 9007199254740993, "f": 1.5}`: `{"f":1.5,"n":9007199254740993,"type":"x"}`,
		`{"a": [1, {"b": [2, -3]}], "c": "ü\u0000"}`: `{"a":[1,{"b":[2,-3]}],"c":"ü\u0000","type":"x"}`,
	} {
		e, err := JSONEvent("x", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got, err := e.JSON(); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{``, `[]`, `1`, `{} {}`, `{"type": "y"}`, `{"n": 1e999}`, `{"a":`} {
		if _, err := JSONEvent("x", []byte(bad)); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %v, want ErrEvent", bad, err)
		}
	}
}
