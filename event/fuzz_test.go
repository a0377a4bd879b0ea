package event_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/rhubarb-go/rhubarb/event"
)

// FuzzEvents: what was read is written in a way that reads the same.
func FuzzEvents(f *testing.F) {
	for _, m := range captured(f) {
		f.Add(m.body)
	}
	for _, s := range []string{
		`{"type":"a-b","x":NaN}`, `[{"type":"task-x","clock":null,"timestamp":1e3},{},[],1]`, `{"type":"\u0000NaN","hostname":"\ud800"}`,
		`{"type":"a-b","type":"c-d","uuid":1,"uuid":"x","pid":-1}`, `{"type":"a-b","timestamp":0.1,"utcoffset":-2}`, `[]`, `{"\u0000NaN":1,"type":"a"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, _ := event.Decode(body)
		state := newState(t, nil)
		for _, e := range events {
			text := e.Append(nil)
			again, err := event.Decode(text)
			if err != nil || len(again) != 1 {
				t.Fatalf("%s is not read again: %v", text, err)
			}
			if got := again[0].Append(nil); !bytes.Equal(got, text) {
				t.Errorf("written as\n%s\nthen as\n%s", text, got)
			}
			if doc, err := json.Marshal(e); err != nil {
				t.Errorf("%s is no JSON for others: %v in %s", text, err, doc)
			}
			_ = state.Apply(e) // may lack something, must not panic
		}
	})
}
