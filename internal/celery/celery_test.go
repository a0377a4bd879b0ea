package celery

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"math"
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

func TestFloatsArePythons(t *testing.T) {
	for f, want := range map[float64]string{1: "1.0", 1.5: "1.5", 1e22: "1e+22", 0.0001: "0.0001", 0.00001: "1e-05",
		math.Inf(1): "Infinity", math.Inf(-1): "-Infinity"} {
		if got, err := Marshal(f); string(got) != want || err != nil {
			t.Errorf("Marshal(%v) = %s, %v; want %s", f, got, err, want)
		}
	}
	if got, err := Marshal(map[string]any{"n": math.NaN(), "i": 1 << 60}); string(got) != `{"i":1152921504606846976,"n":NaN}` || err != nil {
		t.Errorf("Marshal = %s, %v", got, err)
	}
}

func TestWhatPythonWritesBareGoesBackBare(t *testing.T) {
	m := engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[NaN, "NaN"], {"k": [-Infinity]}, {}]`)}
	task, err := Decode(m, Limits{})
	if err == nil {
		err = task.DecodeBody()
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := task.Message()
	if err != nil || !bytes.HasPrefix(out.Body, []byte(`[[NaN,"NaN"],{"k":[-Infinity]},`)) {
		t.Errorf("body %s, %v; want it as it came", out.Body, err)
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
		{"yaml", "application/x-yaml", engine.Message{ContentType: "application/x-yaml"}},
		{"properties", "message properties", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Properties: []byte(`7`)}},
		{"body parts", "1 parts", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[]]`)}},
		{"embed", "embed", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte(`[[],{},{"chain":[{"args":[]}]}]`)}},
		{"compression", "application/x-lzma", engine.Message{Headers: []byte(`{"task":"t","id":"i","compression":"application/x-lzma"}`), Body: []byte("x")}},
		{"UTF-8", "UTF-8", engine.Message{Headers: []byte(`{"task":"t","id":"i"}`), Body: []byte("[[\"\xff\"],{},{}]")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			task, err := Decode(c.m, Limits{})
			if err == nil {
				err = task.DecodeBody()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want …%s…", err, c.want)
			}
		})
	}
}
