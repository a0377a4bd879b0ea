package celery

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

// captured calls f with every string of a capture that begins with the given
// text: envelopes and results are strings inside the recording. See
// testdata/README.md.
func captured(t testing.TB, file, begins string, f func(text string)) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.HasPrefix(v, begins) {
				f(v)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(generic(t, data))
}

func captures(t testing.TB, least int, patterns ...string) []string {
	t.Helper()
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob("testdata/" + p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < least {
		t.Fatalf("%d captures like %v, want %d at least", len(files), patterns, least)
	}
	return files
}

// messages are the task messages of a capture, the one sent last first.
func messages(t testing.TB, file string) []engine.Message {
	t.Helper()
	var out []engine.Message
	captured(t, file, `{"body"`, func(text string) {
		m, queue, priority, err := ParseEnvelope([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendEnvelope(nil, m, queue, priority); !reflect.DeepEqual(generic(t, got), generic(t, []byte(text))) {
			t.Errorf("%s: envelope\n got %s\nwant %s", file, got, text)
		}
		out = append(out, m)
	})
	return out
}

// generic decodes JSON with exact numbers, for comparison; what Python writes
// bare is marked first.
func generic(t testing.TB, raw []byte) any {
	t.Helper()
	norm, err := fromPeer(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(norm))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

func decodeWhole(m engine.Message) (*Task, error) {
	task, err := Decode(m, Limits{})
	if err == nil {
		err = task.DecodeBody()
	}
	return task, err
}

func TestGoldenMessagesRoundTrip(t *testing.T) {
	for _, file := range captures(t, 24, "send-*.json", "stage-*.json") {
		if strings.Contains(file, "protocol-1") {
			continue // not written; see TestGoldenProtocol1
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, m := range messages(t, file) {
				task, err := decodeWhole(m)
				if err != nil {
					t.Fatal(err)
				}
				compareMessage(t, m, task)
			}
		})
	}
}

func TestGoldenMessagesPassThroughUnread(t *testing.T) {
	for _, file := range captures(t, 24, "send-*.json") {
		for _, m := range messages(t, file) {
			task, err := Decode(m, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := task.Message()
			if err != nil || !strings.Contains(file, "protocol-1") && !bytes.Equal(got.Body, m.Body) {
				t.Errorf("%s: the body that was not read went out as %s, %v", file, got.Body, err)
			}
		}
	}
}

// compareMessage encodes the task and holds it against the recording.
func compareMessage(t *testing.T, want engine.Message, task *Task) {
	t.Helper()
	got, err := task.Message()
	if err != nil {
		t.Fatal(err)
	}
	wantHeaders, gotHeaders := generic(t, want.Headers).(map[string]any), generic(t, got.Headers).(map[string]any)
	for _, k := range []string{"eta", "expires"} { // the same instant in another zone
		if s, ok := wantHeaders[k].(string); ok {
			at, _, err := parseISO(s)
			if err != nil {
				t.Fatal(err)
			}
			wantHeaders[k] = string(appendISO(nil, at.UTC(), false))
		}
	}
	if !reflect.DeepEqual(gotHeaders, wantHeaders) {
		t.Errorf("headers\n got %s\nwant %s", got.Headers, want.Headers)
	}
	gotBody, wantBody := plainOf(t, got, task.Compression), plainOf(t, want, task.Compression)
	// A finished chain is [] at times; ours is null then, which is the same to Celery.
	wantBody = bytes.Replace(wantBody, []byte(`"chain": []`), []byte(`"chain": null`), 1)
	if !reflect.DeepEqual(generic(t, gotBody), generic(t, wantBody)) {
		t.Errorf("body\n got %s\nwant %s", gotBody, wantBody)
	}
	wantProps := generic(t, want.Properties).(map[string]any)
	for _, k := range []string{"delivery_info", "delivery_tag", "body_encoding", "expiration"} { // the carrier's
		delete(wantProps, k)
	}
	if gotProps := generic(t, got.Properties); !reflect.DeepEqual(gotProps, any(wantProps)) {
		t.Errorf("properties\n got %s\nwant %s", got.Properties, want.Properties)
	}
}

func plainOf(t *testing.T, m engine.Message, compression string) []byte {
	t.Helper()
	body, err := decompress(m.Body, compression, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestGoldenProtocol1(t *testing.T) {
	ms := messages(t, "testdata/send-protocol-1.json")
	if len(ms) != 1 {
		t.Fatalf("%d messages", len(ms))
	}
	task, err := decodeWhole(ms[0])
	if err != nil {
		t.Fatal(err)
	}
	want := &Task{
		Name: "proj.add", ID: "3cc93da3-4e28-4ec2-8978-064c342c8f25", ETA: task.ETA,
		ReplyTo: "105798eb-ed52-3d70-bde8-31a5535b26be",
		Args:    []json.RawMessage{[]byte("2"), []byte("3")},
	}
	if !reflect.DeepEqual(task, want) {
		t.Errorf("\n got %+v\nwant %+v", task, want)
	}
	if got := task.ETA.Format("2006-01-02T15:04:05.999999Z07:00"); got != "2026-11-23T07:52:23.654835Z" {
		t.Errorf("eta %s", got)
	}
}

func TestGoldenResultsRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range captures(t, 12, "result-*.json", "stage-*.json", "revoke.json") {
		captured(t, file, `{"status"`, func(text string) {
			r, err := DecodeResult([]byte(text))
			if err != nil {
				t.Errorf("%s: %v", file, err)
				return
			}
			seen[r.Status] = true
			if got := r.Append(nil); !reflect.DeepEqual(generic(t, got), generic(t, []byte(text))) {
				t.Errorf("%s\n got %s\nwant %s", file, got, text)
			}
			if _, ok := r.Extra["name"]; ok || r.TaskID == "" {
				t.Errorf("%s: a field was not read: %+v", file, r)
			}
		})
	}
	for _, status := range []string{"SUCCESS", "FAILURE", "RETRY", "REVOKED", "PROGRESS"} {
		if !seen[status] {
			t.Errorf("no capture of a result %s", status)
		}
	}
}

func TestGoldenSignaturesRoundTrip(t *testing.T) {
	data, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Signatures map[string]json.RawMessage }
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	forms := []string{"signature", "partial_kwargs", "immutable", "options", "chain", "group", "chord", "map",
		"starmap", "chunks", "linked", "nested", "link"}
	for _, name := range forms {
		var s Signature
		if err := json.Unmarshal(c.Signatures[name], &s); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := json.Marshal(s)
		if err != nil || !reflect.DeepEqual(generic(t, got), generic(t, c.Signatures[name])) {
			t.Errorf("%s\n got %s, %v\nwant %s", name, got, err, c.Signatures[name])
		}
		if len(s.Extra) > 0 {
			t.Errorf("%s: fields that were not read: %v", name, sortedKeys(s.Extra))
		}
		delete(c.Signatures, name)
	}
	if len(c.Signatures) > 0 {
		t.Errorf("forms that were not compared: %v", sortedKeys(c.Signatures))
	}
}
