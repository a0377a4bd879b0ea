package celery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPartsOfAPeersObject(t *testing.T) {
	raw, err := Check([]byte(`{"a": [1, "x\ny"], "b\u0063": NaN}`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = Members(raw, func(key []byte, value json.RawMessage) error {
		got[string(key)] = string(Bare(value))
		return nil
	})
	if err != nil || got["a"] != `[1, "x\ny"]` || got["bc"] != "NaN" || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	list, err := Elements(json.RawMessage(got["a"]))
	if err != nil || len(list) != 2 {
		t.Fatalf("got %s, %v", list, err)
	}
	if s, err := Text(list[1]); s != "x\ny" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
	if _, err := Check([]byte(strings.Repeat("[", 501) + strings.Repeat("]", 501))); !errors.Is(err, errTooDeep) {
		t.Errorf("501 levels: got %v", err)
	}
}

func TestPartsAreWrittenAsPythonDoes(t *testing.T) {
	at := time.Date(2026, 11, 23, 7, 55, 23, 840234000, time.FixedZone("", 3600))
	b := AppendString(nil, "a\"b")
	b = AppendOptional(append(b, ' '), "")
	b = AppendFloat(append(b, ' '), 2)
	b = AppendTime(append(b, ' '), at)
	const want = `"a\"b" null 2.0 "2026-11-23T06:55:23.840234+00:00"`
	if string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}
