package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/engine"
)

// story is a task's stream with all that can happen in one.
var story = []engine.Record{
	{Attempt: 1, Kind: engine.KindReset},
	{Attempt: 1, N: 1, Kind: engine.KindData, Payload: []byte(`"Once "`)},
	{Attempt: 1, N: 2, Kind: engine.KindData, Payload: []byte(`"upon\u001b[2J"`)},
	{Attempt: 1, N: 3, Kind: engine.KindProgress, Payload: []byte(`{"status":"PROGRESS","result":{"current":1,"total":4}}`)},
	{Attempt: 1, N: 4, Kind: engine.KindProgress, Payload: []byte(`{"current":2,"total":4}`)},
	{Attempt: 1, N: 5, Kind: engine.KindState, Payload: []byte(`{"status":"RETRY","result":{"exc_type":"ValueError","exc_message":["no ink"]}}`)},
	{Attempt: 2, Kind: engine.KindReset},
	{Attempt: 2, N: 1, Kind: engine.KindData, Payload: []byte(`{"page":1}`)},
	{Attempt: 2, Kind: engine.KindGap, Payload: []byte(`{"missing":3,"reason":"retention"}`)},
	{Attempt: 2, N: 7, Kind: engine.KindState, Payload: []byte(`{"status":"BINDING","result":null}`)},
	{Attempt: 2, N: 8, Kind: engine.KindProgress, Payload: []byte(`{"step":"glue"}`)},
	{Attempt: 2, N: 9, Kind: engine.KindData, Payload: []byte(`"The end\n"`)},
	{Attempt: 2, N: 10, Kind: engine.KindEnd, Payload: []byte(`{"status":"SUCCESS"}`)},
}

func show(t *testing.T, env *Env) string {
	t.Helper()
	var out bytes.Buffer
	env.Stdout, env.Stderr = &out, io.Discard
	s := &screen{env: env}
	for _, r := range story {
		if err := s.record(r); err != nil {
			t.Fatal(err)
		}
	}
	s.rest()
	return out.String()
}

func TestStreamInLines(t *testing.T) {
	want := strings.Join([]string{
		"Once upon\x1b[2J",
		"progress 1 of 4",
		"progress 2 of 4",
		"RETRY ValueError: no ink",
		"attempt 2: what came before is void",
		`{"page":1}`,
		"3 records are missing here: kept no longer",
		"BINDING",
		`progress {"step":"glue"}`,
		"The end",
		"",
	}, "\n")
	if got := show(t, &Env{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStreamOnATerminal(t *testing.T) {
	const line = "\r\x1b[K"
	want := "Once upon\uFFFD[2J\n" +
		line + "\x1b[32m███████▌" + strings.Repeat("░", 22) + "\x1b[0m  25%  1 of 4" +
		line + "\x1b[32m" + strings.Repeat("█", 15) + strings.Repeat("░", 15) + "\x1b[0m  50%  2 of 4" +
		line + "\x1b[33mRETRY ValueError: no ink\x1b[0m\n" +
		"\x1b[33mattempt 2: what came before is void\x1b[0m\n" +
		"{\"page\":1}\n" +
		"\x1b[33m3 records are missing here: kept no longer\x1b[0m\n" +
		"BINDING\nprogress {\"step\":\"glue\"}\nThe end\n"
	if got := show(t, &Env{tty: true, color: true}); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestBarStaysInItsWidth(t *testing.T) {
	for _, c := range []struct{ current, total int }{{-5, 10}, {0, 10}, {10, 10}, {99, 10}, {1, 1 << 60}} {
		if n := len([]rune(bar(c.current, c.total))); n != barWidth {
			t.Errorf("bar(%d, %d): got %d characters, want %d", c.current, c.total, n, barWidth)
		}
	}
}

func TestDurationsAreHumane(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                         "0s",
		1499 * time.Microsecond:              "1ms",
		59900 * time.Millisecond:             "59s",
		61 * time.Second:                     "1m01s",
		2*time.Hour + 5*time.Minute:          "2h05m",
		50*time.Hour + 59*time.Minute:        "2d02h",
		365*24*time.Hour + 3*time.Nanosecond: "365d00h",
	} {
		if got := human(d); got != want {
			t.Errorf("human(%v): got %s, want %s", d, got, want)
		}
	}
}

func TestArgumentsAreJSONOrText(t *testing.T) {
	for _, c := range []struct{ arg, typ, want string }{
		{"12", "", "12"},
		{"12", "string", `"12"`},
		{"12", "integer", "12"},
		{`"12"`, "string", `"12"`},
		{"a b", "", `"a b"`},
		{"null", "string", "null"},
		{"[1,", "", `"[1,"`},
		{"true", "any", "true"},
		{"", "", `""`},
	} {
		if got := string(valueOf(c.arg, c.typ)); got != c.want {
			t.Errorf("valueOf(%q, %q): got %s, want %s", c.arg, c.typ, got, c.want)
		}
	}
}

// FuzzRecord shows records that a task or a stranger wrote: it never panics,
// and nothing of theirs steers the terminal.
func FuzzRecord(f *testing.F) {
	for _, r := range story {
		f.Add(string(r.Kind), r.Payload)
	}
	f.Add("state", []byte(`{"status":"\u001b[2J","result":{"exc_type":"\u009b1m","exc_message":["\u0007"]}}`))
	f.Add("progress", []byte(`{"current":1e9,"total":-1}`))
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		for _, env := range []*Env{{tty: true}, {}, {JSON: true}} {
			var out bytes.Buffer
			env.Stdout = &out
			s := &screen{env: env}
			for range 2 {
				if err := s.record(engine.Record{Kind: engine.Kind(kind), Payload: payload}); err != nil {
					t.Errorf("show %s %q: %v", kind, payload, err)
				}
			}
			s.rest()
			text := strings.ReplaceAll(out.String(), "\r\x1b[K", "") // ours, for the bar
			if env.tty && strings.ContainsAny(text, "\x1b\r\a\u009b") {
				t.Errorf("show %s %q: got %q, which steers the terminal", kind, payload, text)
			}
		}
	})
}

// FuzzArgument reads arguments: what is sent is JSON, and text comes back as
// it was.
func FuzzArgument(f *testing.F) {
	for _, s := range []string{"", "12", `"a"`, "[1", "null", "a=b", "\xff"} {
		f.Add(s, "string")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, arg, typ string) {
		raw := valueOf(arg, typ)
		var text string
		switch {
		case !json.Valid(raw):
			t.Errorf("valueOf(%q, %q): got %s, which is not JSON", arg, typ, raw)
		case json.Valid([]byte(arg)) || !utf8.ValidString(arg):
		case json.Unmarshal(raw, &text) != nil || text != arg:
			t.Errorf("valueOf(%q, %q): got %s, want it as text", arg, typ, raw)
		}
	})
}
