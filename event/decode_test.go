package event_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/event"
)

func TestBadEventsDoNotHarmTheOthers(t *testing.T) {
	events, err := event.Decode([]byte(`[
		{"type": "task-started", "hostname": "a@h", "uuid": "1", "later": {"kept": [1.50]}},
		{"type": "task-started", "hostname": "bad@h", "clock": "x"},
		7,
		{"hostname": "bad@h"},
		{"type": "worker-online", "hostname": "b@h"}]`))
	if len(events) != 2 || events[0].Type != "task-started" || events[1].Hostname != "b@h" {
		t.Fatalf("got %v", events)
	}
	if got := string(events[0].Field("later")); got != `{"kept": [1.50]}` {
		t.Errorf("a field of a later version: got %s", got)
	}
	want := "event: read from \"bad@h\": clock: \"x\" is not a whole number of 63 bits\n" +
		"event: read: it is not a JSON object\n" +
		"event: read from \"bad@h\": it has no type"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if bad, ok := errors.AsType[*event.BadError](err); !ok || bad.Hostname != "bad@h" {
		t.Errorf("got %#v", bad)
	}
}

func TestWhatIsReadIsBounded(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, body := range map[string]string{
		"a message over the engine's limit": `{"type": "a-b", "x": "` + strings.Repeat("x", engine.MaxMessage) + `"}`,
		"more events than anyone sends":     "[" + strings.Repeat(`{"type":"a"},`, 10_000) + `{"type":"a"}]`,
		"more fields than anyone has":       `{"type":"a-b"` + fieldsOf(1000) + "}",
		"a long type":                       `{"type":"` + long + `"}`,
		"a long host name":                  `{"type":"a-b","hostname":"` + long + `"}`,
	} {
		if events, err := event.Decode([]byte(body)); !errors.Is(err, engine.ErrLimit) || len(events) != 0 {
			t.Errorf("%s: got %d events, %v", name, len(events), err)
		}
	}
}

func fieldsOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return b.String()
}

func TestMalformedEventsAreRefusedByName(t *testing.T) {
	for body, want := range map[string]string{
		``:                                      "it ends too early",
		`nothing`:                               "not valid JSON",
		"\xff":                                  "not valid UTF-8",
		`"text"`:                                "not a JSON object",
		strings.Repeat("[", 600):                "nested more than 500 levels deep",
		`{"type": 7}`:                           "type: it is not a string",
		`{"type": null}`:                        "it has no type",
		`{"type":"a-b","pid":1.5}`:              "pid: 1.5 is not a whole number",
		`{"type":"a-b","pid":-1}`:               "pid: -1 is not a whole number from 0",
		`{"type":"a-b","utcoffset":900}`:        "utcoffset: 900 is not a number from -48 to 48",
		`{"type":"a-b","clock":-1}`:             "clock: -1 is not",
		`{"type":"a-b","clock":1e3}`:            "clock: 1e3 is not",
		`{"type":"a-b","timestamp":-1}`:         "timestamp: -1 is not a number of seconds since 1970",
		`{"type":"a-b","timestamp":NaN}`:        "timestamp:",
		`{"type":"a-b","timestamp":1e300}`:      "timestamp: 1e300 is not",
		`{"type":"a-b","timestamp":"12"}`:       `timestamp: "12" is not`,
		`{"type":"a-b","hostname":["a"]}`:       "hostname: it is not a string",
		`[{"type":"a-b","timestamp":[]}, null]`: "timestamp: [] is not",
	} {
		events, err := event.Decode([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) || len(events) != 0 {
			t.Errorf("%.60s: got %v, %v; want …%s…", body, events, err, want)
		}
	}
}

func TestNaNIsWrittenAsItCame(t *testing.T) {
	const body = `{"hostname":"a","utcoffset":0,"pid":1,"clock":null,"uuid":"x","runtime":NaN,"timestamp":1.5,"type":"task-succeeded"}`
	events, err := event.Decode([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(events[0].Append(nil)); got != body {
		t.Errorf("got %s", got)
	}
	doc, err := events[0].MarshalJSON()
	if want := strings.Replace(body, "NaN", `"NaN"`, 1); string(doc) != want || err != nil {
		t.Errorf("got %s, %v", doc, err)
	}
}
