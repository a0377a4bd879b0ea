package celery

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestCompressedBodiesAreReadAndBounded(t *testing.T) {
	plain := []byte(`[["` + strings.Repeat("x", 5000) + `"],{},{}]`)
	writers := map[string]func(io.Writer) io.WriteCloser{
		"application/x-gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"application/zlib":   func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"application/zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	}
	for kind, open := range writers {
		t.Run(kind, func(t *testing.T) {
			var b bytes.Buffer
			w := open(&b)
			if _, err := w.Write(plain); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			m := engine.Message{Headers: []byte(`{"task":"t","id":"i","compression":"` + kind + `"}`), Body: b.Bytes()}
			task, err := Decode(m, Limits{})
			if err == nil {
				err = task.DecodeBody()
			}
			if err != nil || len(task.Args) != 1 || len(task.Args[0]) != 5002 {
				t.Errorf("read %d args, %v", len(task.Args), err)
			}
			if task, err = Decode(m, Limits{MaxBody: 1000}); err == nil {
				err = task.DecodeBody()
			}
			if !errors.Is(err, engine.ErrLimit) {
				t.Errorf("over the limit: %v; want ErrLimit", err)
			}
			m.Body = m.Body[:len(m.Body)/2]
			if task, err = Decode(m, Limits{}); err == nil {
				err = task.DecodeBody()
			}
			if err == nil {
				t.Error("half of it was read without an error")
			}
		})
	}
}

func TestBombsAreRefused(t *testing.T) {
	zeros := make([]byte, 17<<20)
	for _, kind := range []string{"gzip", "zstd"} {
		body, name, err := compress(zeros, kind)
		if err != nil {
			t.Fatal(err)
		}
		m := engine.Message{Headers: []byte(`{"task":"t","id":"i","compression":"` + name + `"}`), Body: body}
		if _, err := decodeWhole(m); !errors.Is(err, engine.ErrLimit) {
			t.Errorf("%s: %d bytes that become %d: %v; want ErrLimit", kind, len(body), len(zeros), err)
		}
	}
	big := engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: zeros}
	if _, err := decodeWhole(big); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("a plain body that is too large: %v; want ErrLimit", err)
	}
}

func TestBzip2IsRead(t *testing.T) {
	// Python: bz2.compress(b'[[1], {}, {}]')
	body, err := base64.StdEncoding.DecodeString(bz2Body)
	if err != nil {
		t.Fatal(err)
	}
	task, err := decodeWhole(engine.Message{Headers: []byte(`{"task":"t","id":"i","compression":"application/x-bz2"}`), Body: body})
	if err != nil || len(task.Args) != 1 {
		t.Fatalf("read %+v, %v", task, err)
	}
	m, err := task.Message()
	if err != nil || !strings.HasPrefix(string(m.Body), "[[1],{},") || strings.Contains(string(m.Headers), "compression") {
		t.Errorf("it goes out as %s %s, %v; want it plain", m.Headers, m.Body, err)
	}
}

func TestSpecialTypesBothWays(t *testing.T) {
	type all struct {
		T time.Time `json:"t"`
		B []byte    `json:"b"`
		D Date      `json:"d"`
		C TimeOfDay `json:"c"`
		N Decimal   `json:"n"`
		U UUID      `json:"u"`
		X DateTime  `json:"x"`
		Y Bytes     `json:"y"`
	}
	in := all{
		T: time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.FixedZone("", 9*3600)),
		B: []byte{0, 0xff}, D: Date{2030, 1, 2}, C: TimeOfDay(3*time.Hour + 4*time.Minute + 5*time.Second),
		N: "1.10", U: UUID{0x12, 0x34}, X: DateTime{time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), true}, Y: []byte("é"),
	}
	raw, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"__type__":"datetime","__value__":"2030-01-02T03:04:05.678901+09:00"}`,
		`{"__type__":"base64","__value__":"AP8="}`,
		`{"__type__":"date","__value__":"2030-01-02"}`,
		`{"__type__":"time","__value__":"03:04:05"}`,
		`{"__type__":"decimal","__value__":"1.10"}`,
		`{"__type__":"uuid","__value__":{"hex":"12340000000000000000000000000000"}}`,
		`{"__type__":"datetime","__value__":"2030-01-02T03:04:05"}`,
		`{"__type__":"bytes","__value__":"é"}`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("Marshal = %s; want %s in it", raw, want)
		}
	}
	plain, err := Plain(raw)
	if err != nil {
		t.Fatal(err)
	}
	var out all
	if err := json.Unmarshal(plain, &out); err != nil {
		t.Fatalf("%s: %v", plain, err)
	}
	if !out.T.Equal(in.T) || !bytes.Equal(out.B, in.B) || out.D != in.D || out.C != in.C || out.N != in.N || out.U != in.U || !bytes.Equal(out.Y, in.Y) {
		t.Errorf("round trip\n got %+v\nwant %+v", out, in)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	cases := []struct {
		name, want string
		m          engine.Message
	}{
		{"headers are no object", "message headers", engine.Message{Headers: []byte(`[]`)}},
		{"no task and no body", "no header task", engine.Message{Headers: []byte(`{}`)}},
		{"retries", "header retries", engine.Message{Headers: []byte(`{"task":"t","id":"i","retries":"x"}`)}},
		{"negative retries", "header retries", engine.Message{Headers: []byte(`{"task":"t","id":"i","retries":-1}`)}},
		{"eta", "header eta", engine.Message{Headers: []byte(`{"task":"t","id":"i","eta":"soon"}`)}},
		{"timelimit", "header timelimit", engine.Message{Headers: []byte(`{"task":"t","id":"i","timelimit":[1]}`)}},
		{"id", "header id", engine.Message{Headers: []byte(`{"task":"t"}`)}},
		{"pickle", "pickle", engine.Message{ContentType: "application/x-python-serialize"}},
		{"pickle as Celery sends it", "pickle", engine.Message{ContentType: "application/x-python-serialize", ContentEncoding: "binary"}},
		{"yaml", "application/x-yaml", engine.Message{ContentType: "application/x-yaml"}},
		{"properties", "message properties", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Properties: []byte(`7`)}},
		{"body parts", "1 parts", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[]]`)}},
		{"embed", "embed", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[],{},{"chain":[{"args":[]}]}]`)}},
		{"compression", "application/x-lzma", engine.Message{Headers: []byte(`{"task":"t","id":"i","compression":"application/x-lzma"}`), Body: []byte("x")}},
		{"truncated headers", "message headers: it is not valid JSON: it ends too early", engine.Message{Headers: []byte(`{"task":"t"`)}},
		{"task is a number", "header task: it is not a string", engine.Message{Headers: []byte(`{"task":7}`)}},
		{"id is a list", "header id: it is not a string", engine.Message{Headers: []byte(`{"task":"t","id":[]}`)}},
		{"group_index", "header group_index: it is not a whole number", engine.Message{Headers: []byte(`{"task":"t","id":"i","group_index":1.5}`)}},
		{"ignore_result", "header ignore_result", engine.Message{Headers: []byte(`{"task":"t","id":"i","ignore_result":1}`)}},
		{"stamped_headers", "header stamped_headers: element 1", engine.Message{Headers: []byte(`{"task":"t","id":"i","stamped_headers":["a",2]}`)}},
		{"stamps", "header stamps", engine.Message{Headers: []byte(`{"task":"t","id":"i","stamps":[]}`)}},
		{"limit is text", "header timelimit", engine.Message{Headers: []byte(`{"task":"t","id":"i","timelimit":["1",null]}`)}},
		{"expires in the year 10000", "header expires", engine.Message{Headers: []byte(`{"task":"t","id":"i","expires":"9999-12-31T23:00:00-09:00"}`)}},
		{"reply_to", "message properties: reply_to", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Properties: []byte(`{"reply_to":1}`)}},
		{"latin-1", "content encoding latin-1", engine.Message{ContentEncoding: "latin-1"}},
		{"msgpack", "application/x-msgpack", engine.Message{ContentType: "application/x-msgpack"}},
		{"raw bytes", "application/data", engine.Message{ContentType: "application/data"}},
		{"no body", "message body", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`)}},
		{"truncated body", "message body: it is not valid JSON: it ends too early", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[1],`)}},
		{"depth bomb", "message body: it is nested more than 500 levels deep", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(strings.Repeat("[", 100_000))}},
		{"args", "message body: args: it is not a JSON array", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[{},{},{}]`)}},
		{"kwargs", "message body: kwargs: it is not a JSON object", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[],[],{}]`)}},
		{"too many args", "message body: args: it has more than 65536 parts", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[` + strings.Repeat("1,", 1<<16) + `1],{},{}]`)}},
		{"chain", "embed: chain: signature: task: it is not a string", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[],{},{"chain":[{"task":1}]}]`)}},
		{"protocol 1 without id", "protocol 1 needs task and id", engine.Message{Body: []byte(`{"task":"t"}`)}},
		{"protocol 1 args", "body args", engine.Message{Body: []byte(`{"task":"t","id":"i","args":{}}`)}},
		{"UTF-8", "UTF-8", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte("[[\"\xff\"],{},{}]")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeWhole(c.m)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
			var field *FieldError
			var unsupported *UnsupportedError
			if !errors.As(err, &field) && !errors.As(err, &unsupported) {
				t.Errorf("%v is a %T; want FieldError or UnsupportedError", err, err)
			}
		})
	}
}

const bz2Body = "QlpoOTFBWSZTWYpxR/cAAAMagEAEIAAACgAKIAAhKB6QhgLOiY6kPF3JFOFCQinFH9w="
