package natsengine

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	f.Add("end 1 1 3 57 0 56 2 SUCCESS", "9", "2026-11-23T08:48:14Z", []byte(`{}[]`))
	f.Add("", "", "", []byte("x"))
	f.Fuzz(func(t *testing.T, line, seq, at string, data []byte) {
		h := nats.Header{hdrRecord: {line}, "Nats-Sequence": {seq}, "Nats-Time-Stamp": {at}}
		r, err := readRecord(&nats.Msg{Header: h, Data: data})
		if err == nil && len(r.payload) > len(data) {
			t.Fatal("more was read than is there")
		}
	})
}

// FuzzFacts: a record is read as it was written.
func FuzzFacts(f *testing.F) {
	f.Add("end", "SUCCESS", 1, uint64(3), []byte("{}"), "why")
	f.Add("state", "MY STATE", 9, uint64(1<<62), []byte{}, "")
	f.Fuzz(func(t *testing.T, kind, status string, attempt int, n uint64, payload []byte, reason string) {
		if strings.ContainsAny(kind, " \r\n") || strings.TrimSpace(status) != status || strings.ContainsAny(status, "\r\n") || attempt < 0 || n > 1<<62 {
			t.Skip()
		}
		in := record{kind: engine.Kind(kind), status: status, attempt: attempt, deliveries: attempt, n: n, msg: n, round: attempt, fence: n, payload: payload}
		if reason != "" {
			in.outbox = &outbox{Reason: strings.ToValidUTF8(reason, "?")}
		}
		m, err := in.msgOf("s")
		if err != nil {
			t.Fatal(err)
		}
		out, err := readRecord(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.payload, in.payload) || (out.outbox == nil) != (in.outbox == nil) || in.outbox != nil && out.outbox.Reason != in.outbox.Reason {
			t.Fatalf("got %q %+v, want %q %+v", out.payload, out.outbox, in.payload, in.outbox)
		}
		out.payload, out.outbox, in.payload, in.outbox = nil, nil, nil, nil
		if out.subject = ""; !reflect.DeepEqual(*out, in) {
			t.Fatalf("got %+v, want %+v", *out, in)
		}
	})
}

// FuzzAck: the short way and the long one read the same answer.
func FuzzAck(f *testing.F) {
	f.Add([]byte(`{"stream":"RB_LOG_00","seq":17}`))
	f.Add([]byte(`{"stream":"RB_TASKS","seq":17,"duplicate":true}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"},"stream":"S","seq":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		seq, ok := plainAck(data)
		if !ok {
			return
		}
		var ack struct{ Seq uint64 }
		if err := json.Unmarshal(data, &ack); err != nil || ack.Seq != seq {
			t.Fatalf("%q is read as %d; in JSON it is %d, %v", data, seq, ack.Seq, err)
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

// FuzzSequence reads the number of a kept message, which the server writes.
func FuzzSequence(f *testing.F) {
	f.Add("")
	f.Add("1")
	f.Add("18446744073709551615")
	f.Add("18446744073709551616")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := sequence(&nats.Msg{Header: nats.Header{jetstream.SequenceHeader: {text}}}, jetstream.SequenceHeader)
		if again := strconv.FormatUint(n, 10); err == nil && again != text && again != strings.TrimLeft(text, "0") && n != 0 {
			t.Errorf("%q is %d", text, n)
		}
		if n, err := sequence(&nats.Msg{}, jetstream.SequenceHeader); n != 0 || err != nil {
			t.Errorf("without a header it is %d, %v", n, err)
		}
	})
}
