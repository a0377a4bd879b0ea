package celery

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

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
	f.Add("application/json", []byte(`{"task":"t","id":"i"}`), []byte(`{}`), []byte(`[[NaN,-Infinity],{"a":"NaN"},{}]`))
	f.Fuzz(func(t *testing.T, contentType string, headers, properties, body []byte) {
		lim := Limits{MaxBody: 1 << 20}
		task, err := Decode(engine.Message{ContentType: contentType, Headers: headers, Properties: properties, Body: body}, lim)
		if err != nil || task.DecodeBody() != nil {
			return
		}
		task.Compression = ""
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
		if err != nil || !bytes.Equal(m.Body, m2.Body) || !bytes.Equal(m.Headers, m2.Headers) {
			t.Fatalf("not stable, %v:\n%s\n%s\n%s\n%s", err, m.Headers, m2.Headers, m.Body, m2.Body)
		}
	})
}

// FuzzResult: no record may crash us, and decode after encode is identity.
func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"status":"SUCCESS","result":5,"traceback":null,"children":[],"date_done":"2026-11-23T08:48:14.502917+00:00","task_id":"x"}`))
	f.Add([]byte(`{"status":"FAILURE","result":{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeResult(data)
		if err != nil {
			return
		}
		ExceptionOf(r.Result)
		again, err := DecodeResult(r.Append(nil))
		if err != nil {
			t.Fatalf("our own record cannot be read: %v\n%s", err, r.Append(nil))
		}
		if !bytes.Equal(again.Append(nil), r.Append(nil)) {
			t.Fatalf("not stable:\n%s\n%s", r.Append(nil), again.Append(nil))
		}
	})
}

// FuzzPlain: any JSON stays JSON.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(`[{"__type__":"datetime","__value__":"2030-01-02T03:04:05"},{"k":{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678"}}}]`))
	f.Add([]byte(`{"__type__":"bytes","__value__":"\u00e9"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		if out, err := Plain(data); err == nil && !json.Valid(out) {
			t.Fatalf("Plain(%s) = %s, which is no JSON", data, out)
		}
	})
}

// FuzzSignature: decode after encode is identity.
func FuzzSignature(f *testing.F) {
	f.Add([]byte(`{"task":"proj.add","args":[2,2],"kwargs":{},"options":{"queue":"mail"},"subtask_type":null,"immutable":false,"x":1}`))
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
		if err != nil || !reflect.DeepEqual(out, twice) {
			t.Fatalf("not stable, %v:\n%s\n%s", err, out, twice)
		}
	})
}
