package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestEnvelopeIsKombus(t *testing.T) {
	task := Task{Name: "t", ID: "i", ReplyTo: "r", Priority: 7, Properties: map[string]json.RawMessage{"app_id": []byte(`"a"`)}}
	m, err := task.Message()
	if err != nil {
		t.Fatal(err)
	}
	text := AppendEnvelope([]byte("before"), m, "mail", 3)
	text, found := bytes.CutPrefix(text, []byte("before"))
	if !found {
		t.Fatalf("it does not append: %s", text)
	}
	var got struct {
		Body       string
		Encoding   string          `json:"content-encoding"`
		Type       string          `json:"content-type"`
		Headers    json.RawMessage `json:"headers"`
		Properties map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	p := got.Properties
	tag, _ := p["delivery_tag"].(string)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(tag) {
		t.Errorf("delivery tag %q is no UUID of version 4", tag)
	}
	if got.Type != "application/json" || got.Encoding != "utf-8" || p["priority"] != 3.0 || p["body_encoding"] != "base64" ||
		p["reply_to"] != "r" || p["correlation_id"] != "i" || p["app_id"] != "a" || p["delivery_mode"] != 2.0 {
		t.Errorf("%s", text)
	}
	if info := p["delivery_info"].(map[string]any); info["exchange"] != "" || info["routing_key"] != "mail" {
		t.Errorf("delivery_info %v", info)
	}
	if again := AppendEnvelope(nil, m, "mail", 3); bytes.Contains(again, []byte(tag)) {
		t.Error("two deliveries have one tag")
	}
	m2, queue, priority, err := ParseEnvelope(text)
	if err != nil || queue != "mail" || priority != 3 || m2.ID != "i" || m2.Task != "t" || !bytes.Equal(m2.Body, m.Body) {
		t.Errorf("read %+v, %q, %d, %v", m2, queue, priority, err)
	}
	if carried := AppendEnvelope(nil, m2, "other", 0); !bytes.Contains(carried, []byte(tag)) {
		t.Error("a message that is carried on lost its tag")
	}
}

func TestABroadcastTellsExchangeAndKey(t *testing.T) {
	m := engine.Message{Headers: []byte(`{"hostname":"a"}`), Properties: []byte(`{"delivery_mode":1}`), Body: []byte(`{}`)}
	text := AppendBroadcast(nil, m, "celeryev", "worker.online")
	want := `"properties":{"delivery_mode":1,"delivery_info":{"exchange":"celeryev","routing_key":"worker.online"},"priority":0,`
	if !bytes.Contains(text, []byte(want)) {
		t.Errorf("got %s, want %s in it", text, want)
	}
}

func TestEnvelopesWithoutBase64AndIDAreRead(t *testing.T) {
	m, queue, _, err := ParseEnvelope([]byte(`{"body": "[[\"\u00e9\"], {}]", "headers": {}, "properties": {"correlation_id": "c"}}`))
	if err != nil || string(m.Body) != `[["é"], {}]` || m.ID != "c" || queue != "" {
		t.Errorf("%+v, %q, %v", m, queue, err)
	}
}

func TestEnvelopeErrorsNameThePart(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"no JSON", `{"body`, "message envelope: it is not valid JSON: it ends too early"},
		{"no object", `[]`, "message envelope: it is not a JSON object"},
		{"body is a number", `{"body": 1}`, "message body: it is not a string"},
		{"bad base64", `{"body": "%", "properties": {"body_encoding": "base64"}}`, "message body: it is not valid base64"},
		{"unknown encoding", `{"body": "x", "properties": {"body_encoding": "hex"}}`, "body encoding hex"},
		{"headers", `{"headers": 1}`, "message headers"},
		{"id", `{"headers": {"id": 1}}`, "message headers: id: it is not a string"},
		{"priority", `{"properties": {"priority": "high"}}`, "message properties: priority"},
		{"routing key", `{"properties": {"delivery_info": {"routing_key": 1}}}`, "message properties: delivery_info"},
		{"UTF-8", "{\"body\": \"\xff\"}", "UTF-8"},
		{"depth", strings.Repeat(`{"a":`, 1000), "levels deep"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := ParseEnvelope([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
		})
	}
	if _, _, _, err := ParseEnvelope(make([]byte, MaxEnvelope+1)); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("too large: %v; want ErrLimit", err)
	}
}
