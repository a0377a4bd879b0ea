package stream_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// records makes data records of payloads; "reset" is one.
func records(payloads ...string) (rs []engine.Record) {
	attempt, n := 1, uint64(0)
	for i, p := range payloads {
		kind := engine.KindData
		if n++; p == "reset" {
			attempt, n, kind = attempt+1, 0, engine.KindReset
		}
		rs = append(rs, engine.Record{Pos: engine.Position(fmt.Sprint(i)), Attempt: attempt, N: n, Kind: kind, Payload: []byte(p)})
	}
	return rs
}

func payloads(rs []engine.Record) (out []string) {
	for _, r := range rs {
		out = append(out, string(r.Payload))
	}
	return out
}

func TestMergeJoinsWhatItsPolicyKnows(t *testing.T) {
	for name, c := range map[string]struct {
		join     stream.Join
		in, want []string
	}{
		"nothing without a policy":          {nil, []string{"a", "b"}, []string{"a", "b"}},
		"text as it is":                     {stream.JoinText, []string{"a", "", "b\n", "c"}, []string{"ab\nc"}},
		"strings to a string":               {stream.JoinJSON, []string{`"a"`, ` "b\n" `, `""`, `"c"`}, []string{`"ab\nc"`}},
		"arrays to an array":                {stream.JoinJSON, []string{`[]`, `[1, 2]`, `[ ]`, `[3]`, `[[4]]`}, []string{`[1, 2,3,[4]]`}},
		"no array with a string":            {stream.JoinJSON, []string{`"a"`, `[1]`, `[2]`, `"b"`, `"c"`}, []string{`"a"`, `[1,2]`, `"bc"`}},
		"no other values":                   {stream.JoinJSON, []string{`1`, `2`, `{}`, `{}`, `null`}, []string{`1`, `2`, `{}`, `{}`, `null`}},
		"no invalid JSON":                   {stream.JoinJSON, []string{`"a`, `b"`, `"c"`, `"d" "e"`, ``}, []string{`"a`, `b"`, `"c"`, `"d" "e"`, ``}},
		"halves of a surrogate pair in two": {stream.JoinJSON, []string{`"\ud83c"`, `"\udf31"`}, []string{`"\ud83c\udf31"`}},
		"nothing over a reset":              {stream.JoinText, []string{"a", "b", "reset", "c", "d"}, []string{"ab", "reset", "cd"}},
	} {
		in := records(c.in...)
		before := slices.Clone(in)
		m := &stream.Merger{Join: c.join}
		got := m.Merge(in)
		if !slices.Equal(payloads(got), c.want) {
			t.Errorf("%s: %q:\ngot  %q\nwant %q", name, c.in, payloads(got), c.want)
		}
		if !slices.Equal(lines(in), lines(before)) || !slices.Equal(payloads(in), c.in) {
			t.Errorf("%s: the records that were given changed to %q", name, payloads(in))
		}
		if n := m.Stats().Merged; int(n) != len(in)-len(got) {
			t.Errorf("%s: %d counted as merged, want %d", name, n, len(in)-len(got))
		}
	}
}

func TestAMergedRecordIsWhereTheLastOneWas(t *testing.T) {
	m := &stream.Merger{Join: stream.JoinText}
	in := records("a", "b", "c")
	got := m.Merge(in)
	if len(got) != 1 || got[0].Pos != in[2].Pos || got[0].N != in[2].N {
		t.Errorf("got %+v, want the position of %+v", got, in[2])
	}
}

func TestAMergedRecordIsBounded(t *testing.T) {
	m := &stream.Merger{Join: stream.JoinText, MaxBytes: 10}
	got := payloads(m.Merge(records("1234", "5678", "90", "1", strings.Repeat("x", 20), "y")))
	if want := []string{"1234567890", "1", strings.Repeat("x", 20), "y"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := m.Stats(); s != (stream.MergeStats{Merged: 2, Full: 3}) {
		t.Errorf("got %+v", s)
	}
}

func TestASlowReaderGetsMergedBatches(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{})
	var want strings.Builder
	for i := range 600 {
		p := fmt.Sprint(i, " ")
		want.WriteString(p)
		write(t, w, `"`+p+`"`)
	}
	end(t, w)
	at, err := stream.Open(eng, "s").Attach(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	m := &stream.Merger{Join: stream.JoinJSON}
	var got strings.Builder
	n := 0
	for recs, err := range m.Batches(at.Batches(t.Context())) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			n++
			var text string
			if r.Kind == engine.KindData {
				if err := json.Unmarshal(r.Payload, &text); err != nil {
					t.Fatal(err)
				}
			}
			got.WriteString(text)
		}
	}
	if got.String() != want.String() || n > 10 {
		t.Errorf("got %d records and %d bytes, want a few and %d", n, got.Len(), want.Len())
	}
}

func FuzzJoinJSON(f *testing.F) {
	f.Add([]byte(`"a"`), []byte(`"b"`))
	f.Add([]byte(`[ ]`), []byte(` [1, "x"] `))
	f.Add([]byte(`"\ud83c"`), []byte(`"\udf31"`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		joined, ok := stream.JoinJSON(nil, a)
		if ok {
			joined, ok = stream.JoinJSON(joined, b)
		}
		if !ok {
			return
		}
		var x, y, z any
		for in, out := range map[*any][]byte{&x: a, &y: b, &z: joined} {
			if err := json.Unmarshal(out, in); err != nil {
				t.Fatalf("%q and %q became %q: %v", a, b, joined, err)
			}
		}
		if xs, ok := x.([]any); ok && len(xs)+len(y.([]any)) != len(z.([]any)) {
			t.Errorf("%q and %q became %q", a, b, joined)
		}
	})
}
