package celery

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/engine"
)

// seeds are the golden messages.
func seeds(f *testing.F) []engine.Message {
	var out []engine.Message
	for _, file := range captures(f, 24, "send-*.json", "stage-*.json") {
		out = append(out, messages(f, file)...)
	}
	return out
}

// FuzzDecode: no message may crash us, and what was read is read the same
// after it was written.
func FuzzDecode(f *testing.F) {
	for _, m := range seeds(f) {
		f.Add(m.ContentType, m.Headers, m.Properties, m.Body)
	}
	f.Add("application/json", []byte(`{"task":"t","id":"i","eta":"9999-12-31T23:59:59.999999+00:00"}`), []byte(`{}`), []byte(`[[NaN,-Infinity,"\u0000NaN"],{"a":"NaN"},{}]`))
	f.Add("", []byte(`{"compression":"gzip"}`), []byte(`{"priority":9,"x":NaN}`), []byte(`{"task":"t","id":"i","taskset":"g","args":[1],"expires":10}`))
	f.Fuzz(func(t *testing.T, contentType string, headers, properties, body []byte) {
		lim := Limits{MaxBody: 1 << 20}
		task, err := Decode(engine.Message{ContentType: contentType, Headers: headers, Properties: properties, Body: body}, lim)
		if err != nil || task.DecodeBody() != nil {
			return
		}
		Repr(task.Args, task.Kwargs)
		m, err := task.Message()
		if err != nil {
			return
		}
		again, err := Decode(m, lim)
		if err == nil {
			err = again.DecodeBody()
		}
		if err != nil {
			t.Fatalf("our own message cannot be read: %v\n%s\n%s", err, m.Headers, m.Body)
		}
		m2, err := again.Message()
		if err != nil || !reflect.DeepEqual(m, m2) {
			t.Fatalf("not stable, %v:\n%s\n%s\n%s\n%s", err, m.Headers, m2.Headers, m.Body, m2.Body)
		}
	})
}

// FuzzEnvelope: no text may crash us, and what was read is read the same after
// it was written.
func FuzzEnvelope(f *testing.F) {
	for _, m := range seeds(f) {
		f.Add(AppendEnvelope(nil, m, "celery", 3))
	}
	f.Add([]byte(`{"body":"[[],{},{}]","headers":{"task":"t","id":"i"},"properties":{"correlation_id":"c","delivery_info":{"routing_key":"q"}}}`))
	f.Add([]byte(`{"body":"\u0057w==","properties":{"body_encoding":"base64","delivery_tag":"t","x":NaN},"properties":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		AppendEnvelope(nil, engine.Message{Headers: data, Properties: data}, "q", 0) // whatever it is, no panic
		m, queue, priority, err := ParseEnvelope(data)
		if err != nil {
			return
		}
		text := AppendEnvelope(nil, m, queue, priority)
		m2, queue2, priority2, err := ParseEnvelope(text)
		if err != nil {
			t.Fatalf("our own envelope cannot be read: %v\n%s", err, text)
		}
		if m2.ID != m.ID || m2.Task != m.Task || !bytes.Equal(m2.Body, m.Body) || queue2 != queue || priority2 != priority ||
			m2.ContentType != orElse(m.ContentType, "application/json") || len(m.Headers) > 0 && !bytes.Equal(m2.Headers, m.Headers) {
			t.Fatalf("not stable:\n%s\n%s\n%+v\n%+v", data, text, m, m2)
		}
	})
}

// FuzzResult: no record may crash us, and decode after encode is identity.
func FuzzResult(f *testing.F) {
	for _, file := range captures(f, 12, "result-*.json", "stage-*.json", "revoke.json") {
		captured(f, file, `{"status"`, func(text string) { f.Add([]byte(text)) })
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeResult(data)
		if err != nil {
			return
		}
		if x, ok := ExceptionOf(r.Result); ok {
			if again, ok := ExceptionOf(x.JSON()); !ok || again.Text() != x.Text() {
				t.Fatalf("exception %+v became %+v", x, again)
			}
		}
		if out, err := json.Marshal(r); err != nil {
			t.Fatalf("encoding/json refuses it: %v\n%s", err, out)
		}
		again, err := DecodeResult(r.Append(nil))
		if err != nil {
			t.Fatalf("our own record cannot be read: %v\n%s", err, r.Append(nil))
		}
		if !bytes.Equal(again.Append(nil), r.Append(nil)) {
			t.Fatalf("not stable:\n%s\n%s", r.Append(nil), again.Append(nil))
		}
	})
}

// FuzzPlain: any JSON stays JSON, and nothing special is left for a second
// time.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(`[{"__type__":"datetime","__value__":"2030-01-02T03:04:05"},{"k":{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}}]`))
	f.Add([]byte(`{"__type__":"bytes","__value__":"\u00e9"}`))
	f.Add([]byte(`{"__value__":[NaN,{"__type__":"decimal","__value__":"1"}],"__type__":"set"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		_ = Unmarshal(data, &v) // any error will do
		out, err := Plain(data)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("Plain(%s) = %s, which is no JSON", data, out)
		}
		if again, err := Plain(out); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("Plain(%s) = %s, and then %s, %v", data, out, again, err)
		}
	})
}

// FuzzSignature: decode after encode is identity.
func FuzzSignature(f *testing.F) {
	f.Add([]byte(`{"task":"proj.add","args":[2,2],"kwargs":{},"options":{"queue":"mail"},"subtask_type":null,"immutable":false,"x":1}`))
	f.Add([]byte(`{"task":"celery.chord","args":["\u0000NaN"],"kwargs":{"header":[]},"subtask_type":"chord","chord_size":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, again Signature
		if json.Unmarshal(data, &s) != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("our own signature cannot be read: %v\n%s", err, out)
		}
		twice, err := json.Marshal(again)
		if err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("not stable, %v:\n%s\n%s", err, out, twice)
		}
	})
}

// FuzzValid: the checker agrees with encoding/json on everything but what
// Python writes bare and what is too deep, and marks come and go without loss.
func FuzzValid(f *testing.F) {
	for _, s := range []string{`[1,-0.5e+3,"\u00e9\n",{"a":[]},true,null]`, `[NaN,"\u0000NaN","\u0000\u004eaN"]`, "\"\x01\"", `[01]`, `1.`, `{"a":1,}`, `-`, ` 7 `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := checker{raw: data}
		err := c.check()
		want := json.Valid(data) && utf8.Valid(data)
		if !c.bare && !c.deep && (err == nil) != want {
			t.Fatalf("%q: %v; encoding/json says %v", data, err, want)
		}
		if err != nil {
			return
		}
		marked, err := fromPeer(data)
		if err != nil || !json.Valid(marked) {
			t.Fatalf("%q marked is %q, %v", data, marked, err)
		}
		back := Bare(marked)
		if again, err := fromPeer(back); err != nil || !bytes.Equal(again, marked) {
			t.Fatalf("%q marked is %q, bare %q, marked again %q, %v", data, marked, back, again, err)
		}
	})
}

// FuzzString: every string is written as encoding/json writes it.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain text of some length", "é\xff\x00\"\\\n\u2028", "\x00NaN", strings.Repeat("a", 17) + "\x1f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		ref, err := json.Marshal(s)
		if err == nil {
			err = json.Unmarshal(ref, &want)
		}
		if err == nil {
			err = json.Unmarshal(appendString(nil, s), &got)
		}
		if err != nil || got != want {
			t.Fatalf("%q became %q, %v; want %q", s, got, err, want)
		}
	})
}
