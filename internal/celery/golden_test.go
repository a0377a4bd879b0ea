package celery

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

// capture is a recording of what a Python client left on Redis. See
// testdata/README.md.
type capture struct {
	Keys map[string]struct {
		Type  string          `json:"type"`
		Value json.RawMessage `json:"value"`
	} `json:"keys"`
}

func messages(t *testing.T, file string) []engine.Message {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	var out []engine.Message
	for name, key := range c.Keys {
		var list []string
		if key.Type != "list" || json.Unmarshal(key.Value, &list) != nil {
			continue
		}
		for _, text := range list {
			m, queue, priority, err := ParseEnvelope([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if step := name[len(queue):]; step != "" && step != "\x06\x16"+strconv.Itoa(priority) {
				t.Errorf("list %q holds a message for queue %q with priority %d", name, queue, priority)
			}
			checkEnvelope(t, []byte(text), m, queue, priority)
			out = append(out, m)
		}
	}
	return out
}

// checkEnvelope writes what was read from the text again and compares.
func checkEnvelope(t *testing.T, text []byte, m engine.Message, queue string, priority int) {
	t.Helper()
	if got := AppendEnvelope(nil, m, queue, priority); !reflect.DeepEqual(generic(t, got), generic(t, text)) {
		t.Errorf("envelope\n got %s\nwant %s", got, text)
	}
}

// generic decodes JSON with exact numbers, for comparison. What Python writes
// bare is quoted first.
func generic(t *testing.T, raw []byte) any {
	t.Helper()
	norm, err := normal(raw)
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

func TestGoldenMessagesRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/send-*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, m := range messages(t, file) {
				task, err := Decode(m, Limits{})
				if err == nil {
					err = task.DecodeBody()
				}
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(file, "protocol-1") {
					if task.Name == "" || task.ID == "" || len(task.Args) == 0 {
						t.Errorf("protocol 1 read as %+v", task)
					}
					continue
				}
				compareMessage(t, m, task)
			}
		})
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
	wantBody, err := decompress(want.Body, task.Compression, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	gotBody, err := decompress(got.Body, task.Compression, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gotHeaders, wantHeaders) {
		t.Errorf("headers\n got %s\nwant %s", got.Headers, want.Headers)
	}
	if !reflect.DeepEqual(generic(t, gotBody), generic(t, wantBody)) {
		t.Errorf("body\n got %s\nwant %s", gotBody, wantBody)
	}
	wantProps, gotProps := generic(t, want.Properties).(map[string]any), generic(t, got.Properties).(map[string]any)
	for _, k := range []string{"correlation_id", "reply_to", "delivery_mode", "priority"} {
		if !reflect.DeepEqual(gotProps[k], wantProps[k]) {
			t.Errorf("property %s: got %v, want %v", k, gotProps[k], wantProps[k])
		}
	}
}

func TestGoldenResultsRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/result-*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c capture
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		for key, v := range c.Keys {
			var text string
			if !strings.HasPrefix(key, "celery-task-meta-") || json.Unmarshal(v.Value, &text) != nil {
				continue
			}
			r, err := DecodeResult([]byte(text))
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if got := r.Append(nil); !reflect.DeepEqual(generic(t, got), generic(t, []byte(text))) {
				t.Errorf("%s\n got %s\nwant %s", file, got, text)
			}
		}
	}
}

func TestGoldenSignaturesRoundTrip(t *testing.T) {
	data, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Signatures map[string]json.RawMessage }
	if err := json.Unmarshal(data, &c); err != nil || len(c.Signatures) < 8 {
		t.Fatalf("%d signatures, %v", len(c.Signatures), err)
	}
	for name, raw := range c.Signatures {
		var s Signature
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := json.Marshal(s)
		if err != nil || !reflect.DeepEqual(generic(t, got), generic(t, raw)) {
			t.Errorf("%s\n got %s, %v\nwant %s", name, got, err, raw)
		}
	}
}
