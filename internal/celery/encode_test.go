package celery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestMessageIsWrittenInFull(t *testing.T) {
	task := Task{Name: "mail.send", ID: "i", HardLimit: 90 * time.Second, SoftLimit: 1500 * time.Millisecond,
		ETA:  time.Date(2030, 1, 2, 12, 0, 0, 600_000_000, time.FixedZone("", 9*3600)),
		Args: []json.RawMessage{nil, []byte("1")}, Embed: Embed{Callbacks: []Signature{}}}
	m, err := task.Message()
	if err != nil {
		t.Fatal(err)
	}
	const headers = `{"lang":"go","task":"mail.send","id":"i","shadow":null,"eta":"2030-01-02T03:00:00.600000+00:00","expires":null,` +
		`"group":null,"group_index":null,"retries":0,"timelimit":[90,1.5],"root_id":"i","parent_id":null,"origin":"",` +
		`"ignore_result":null,"replaced_task_nesting":0,"stamped_headers":null,"stamps":{}}`
	if string(m.Headers) != headers {
		t.Errorf("headers\n got %s\nwant %s", m.Headers, headers)
	}
	if want := `{"correlation_id":"i","reply_to":null,"delivery_mode":2,"priority":0}`; string(m.Properties) != want {
		t.Errorf("properties %s, want %s", m.Properties, want)
	}
	if want := `[[null,1],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]`; string(m.Body) != want {
		t.Errorf("body %s, want %s", m.Body, want)
	}
	if m.ID != "i" || m.Task != "mail.send" || m.ContentType != "application/json" || m.ContentEncoding != "utf-8" {
		t.Errorf("%+v", m)
	}
}

func TestMessageRefuses(t *testing.T) {
	cases := []struct {
		name, want string
		task       Task
	}{
		{"no name", "a name and an id", Task{ID: "i"}},
		{"no id", "a name and an id", Task{Name: "t"}},
		{"a header of Celery's own", "header retries", Task{Name: "t", ID: "i", Extra: map[string]json.RawMessage{"retries": []byte("1")}}},
		{"a year Python lacks", "header eta", Task{Name: "t", ID: "i", ETA: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"an unknown compression", "compression lzma", Task{Name: "t", ID: "i", Compression: "lzma"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.task.Message(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
		})
	}
	big := Task{Name: "t", ID: "i", Args: []json.RawMessage{make([]byte, engine.MaxMessage)}}
	if _, err := big.Message(); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("too large: %v; want ErrLimit", err)
	}
}

func TestOldMessagesAreRead(t *testing.T) {
	m := engine.Message{Headers: []byte(`{"task":"t","id":"i","eta":"2030-01-02T03:04:05","expires":1900000000,"timelimit":[null, null]}`), Body: []byte(`[[],{}]`)}
	task, err := decodeWhole(m)
	if err != nil || !task.ETA.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) || task.Expires.Unix() != 1900000000 {
		t.Errorf("%+v, %v", task, err)
	}
	before := time.Now()
	m.Headers = []byte(`{"task":"t","id":"i","expires":30.5}`)
	task, err = decodeWhole(m)
	if err != nil || task.Expires.Before(before.Add(30*time.Second)) || task.Expires.After(time.Now().Add(31*time.Second)) {
		t.Errorf("seconds from now: %v, %v", task.Expires, err)
	}
}

func TestGoldenReprs(t *testing.T) {
	for _, name := range []string{"args", "kwargs", "gzip", "options", "stamped", "chain"} {
		task, err := decodeWhole(messages(t, "testdata/send-"+name+".json")[0])
		if err != nil {
			t.Fatal(err)
		}
		if args, kwargs := Repr(task.Args, task.Kwargs); args != task.ArgsRepr || kwargs != task.KwargsRepr {
			t.Errorf("%s: got %s %s, want %s %s", name, args, kwargs, task.ArgsRepr, task.KwargsRepr)
		}
	}
}

func TestRepr(t *testing.T) {
	cases := []struct{ args, kwargs, wantArgs, wantKwargs string }{
		{`[]`, `{}`, "()", "{}"},
		{`[2, 3]`, `{"to": "a"}`, "(2, 3)", "{'to': 'a'}"},
		{`["a@example.org"]`, `{"b": [1, {"c": [2]}], "a": null}`, "('a@example.org',)", "{'a': None, 'b': [1, {'c': [...]}]}"},
		{`[true, false, 1e+22, NaN, -Infinity, [[[]], {"k": {}}]]`, `{}`, "(True, False, 1e+22, nan, -inf, [[[...]], {'k': {...}}])", "{}"},
		{`[{"__type__": "datetime", "__value__": "2030-01-02T03:04:05"}, {"__type__": "decimal", "__value__": "1.10"}]`, `{}`,
			"(datetime.datetime(2030-01-02 03:04:05), Decimal('1.10'))", "{}"},
	}
	for _, c := range cases {
		task, err := decodeWhole(engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte("[" + c.args + "," + c.kwargs + ",{}]")})
		if err != nil {
			t.Fatal(err)
		}
		if args, kwargs := Repr(task.Args, task.Kwargs); args != c.wantArgs || kwargs != c.wantKwargs {
			t.Errorf("got %s %s\nwant %s %s", args, kwargs, c.wantArgs, c.wantKwargs)
		}
	}
	long, err := Marshal([]string{strings.Repeat("é", 5000), "b"})
	if err != nil {
		t.Fatal(err)
	}
	args, kwargs := Repr([]json.RawMessage{long, long}, map[string]json.RawMessage{strings.Repeat("k", 2000): long, "l": long})
	for _, s := range []string{args, kwargs} {
		if len(s) > maxRepr+40 || !strings.Contains(s, "...") || strings.ToValidUTF8(s, "") != s {
			t.Errorf("a long one has %d bytes: %s", len(s), s)
		}
	}
	Repr([]json.RawMessage{[]byte(`[1,`), []byte(`{"a`), []byte(`"`), nil}, map[string]json.RawMessage{"k": []byte(`{`)}) // no panic
}
