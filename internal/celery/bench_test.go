package celery

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func benchTask() Task {
	return Task{
		Name: "mail.send_email", ID: "a4bd8067-3e47-4268-82f1-4d8a6f78be95", Origin: "gen1@host",
		ArgsRepr: "()", KwargsRepr: "{'to': 'a@example.org'}", ReplyTo: "47a9381b-7e9b-3c29-8678-1d38ebf1d016",
		Kwargs: map[string]json.RawMessage{"to": json.RawMessage(`"a@example.org"`)},
	}
}

func benchMessage(b *testing.B) engine.Message {
	b.Helper()
	t := benchTask()
	m, err := t.Message()
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkEncode(b *testing.B) {
	t := benchTask()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Message(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := benchMessage(b)
	for _, whole := range []bool{false, true} {
		name := "headers"
		if whole {
			name = "whole"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				task, err := Decode(m, Limits{})
				if err == nil && whole {
					err = task.DecodeBody()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEnvelope(b *testing.B) {
	m := benchMessage(b)
	text := AppendEnvelope(nil, m, "mail", 3)
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 2048)
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendEnvelope(buf[:0], m, "mail", 3)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, _, _, err := ParseEnvelope(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse/encoding_json", func(b *testing.B) { // what the scanner saves
		b.ReportAllocs()
		for b.Loop() {
			var e struct {
				Body                []byte
				Headers, Properties map[string]any
				ContentType         string `json:"content-type"`
			}
			if err := json.Unmarshal(text, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkResult(b *testing.B) {
	r := Result{Status: engine.Success, Result: json.RawMessage(`"sent"`), DateDone: time.Now(), TaskID: "a4bd8067-3e47-4268-82f1-4d8a6f78be95"}
	text := r.Append(nil)
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 512)
		b.ReportAllocs()
		for b.Loop() {
			buf = r.Append(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeResult(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	type email struct {
		To      string    `json:"to"`
		Subject string    `json:"subject,omitempty"`
		At      time.Time `json:"at"`
	}
	v := email{To: "a@example.org", At: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRepr(b *testing.B) {
	args := []json.RawMessage{json.RawMessage("2"), json.RawMessage(`"a@example.org"`)}
	b.ReportAllocs()
	for b.Loop() {
		Repr(args, nil)
	}
}
