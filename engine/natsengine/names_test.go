package natsengine

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
)

// FuzzToken: any name is one token, and can be read back.
func FuzzToken(f *testing.F) {
	for _, s := range []string{"celery", "a.b", "*", ">", "~", "~7e", "queue\x06\x163", "ü", strings.Repeat("q", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		tok := token(name)
		if tok == "" || strings.ContainsAny(tok, ".*> \t\r\n") {
			t.Fatalf("token(%q) = %q, which is not one token", name, tok)
		}
		if name != "" && untoken(tok) != name {
			t.Fatalf("untoken(%q) = %q, want %q", tok, untoken(tok), name)
		}
	})
}

// FuzzRecord: what others may write under our subjects cannot crash us.
func FuzzRecord(f *testing.F) {
	f.Add("end", "SUCCESS", "1", "12", "2026-11-23T08:48:14Z", []byte(`{}[]`))
	f.Fuzz(func(t *testing.T, kind, status, attempt, box, at string, data []byte) {
		h := nats.Header{hdrKind: {kind}, hdrStatus: {status}, hdrAttempt: {attempt}, hdrOutbox: {box}, "Nats-Time-Stamp": {at}}
		r, err := readRecord(&nats.Msg{Header: h, Data: data})
		if err == nil && len(r.payload) > len(data) {
			t.Fatal("more was read than is there")
		}
	})
}

// FuzzMessage: a publication is read as it was written.
func FuzzMessage(f *testing.F) {
	f.Add("id", "task", "application/json", []byte(`{"a":1}`), []byte("[]"))
	f.Add(" id\r\nX: y", `"quoted"`, "", []byte("{\n}"), []byte{0})
	f.Fuzz(func(t *testing.T, id, task, contentType string, headers, body []byte) {
		in := engine.Message{ID: id, Task: task, ContentType: contentType, Headers: headers, Body: body}
		h := messageHeader(&in, 3)
		for k, v := range h {
			if strings.ContainsAny(v[0], "\r\n") {
				t.Fatalf("header %s would be cut: %q", k, v[0])
			}
		}
		out, round := readMessage(h, body)
		if out.ID != id || out.Task != task || out.ContentType != contentType || round != 3 {
			t.Fatalf("got %+v, want %+v", out, in)
		}
	})
}
