package celery

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestFloatsArePythons(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 1: "1.0", -1: "-1.0", 1.5: "1.5", 0.1: "0.1", 1e15: "1000000000000000.0", 1e16: "1e+16", 1e22: "1e+22",
		0.0001: "0.0001", 0.00001: "1e-05", 123456789.125: "123456789.125", 5e-324: "5e-324", 1.7976931348623157e308: "1.7976931348623157e+308",
		math.Copysign(0, -1): "-0.0", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity"} {
		if got, err := Marshal(f); string(got) != want || err != nil {
			t.Errorf("Marshal(%v) = %s, %v; want %s", f, got, err, want)
		}
	}
}

func TestMarshalWritesWhatPythonSees(t *testing.T) {
	type inner struct {
		At time.Time `json:"at,omitzero"`
		N  int       `json:"n,omitempty"`
	}
	type named struct {
		X float64
		Y float64 `json:"-"`
		z float64
	}
	type outer struct {
		inner
		*named
		Next  *outer          `json:"next,omitempty"`
		Raw   json.RawMessage `json:"raw,omitempty"`
		Any   any             `json:"any,omitempty"`
		Id    int64           `json:"id,string,omitempty"`
		Large *big.Int        `json:"large,omitempty"`
		Num   json.Number     `json:"num,omitempty"`
		When  *time.Time      `json:"when,omitempty"`
		Sig   *Signature      `json:"sig,omitempty"`
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 100_000_000, time.UTC)
	const iso = `{"__type__":"datetime","__value__":"2030-01-02T03:04:05.100000+00:00"}`
	cases := []struct {
		name string
		in   any
		want string
	}{
		{"nil", nil, `null`},
		{"an int", 1 << 60, `1152921504606846976`},
		{"a string", "é\n\"\x01\xff", "\"é\\n\\\"\\u0001\uFFFD\""},
		{"NaN in a map", map[string]any{"n": math.NaN(), "i": 1 << 60}, `{"i":1152921504606846976,"n":NaN}`},
		{"an empty struct", outer{}, `{}`},
		{"embedded fields", outer{inner: inner{at, 1}, named: &named{X: 2}}, `{"at":` + iso + `,"n":1,"X":2.0}`},
		{"itself inside", outer{Next: &outer{Next: &outer{}}}, `{"next":{"next":{}}}`},
		{"raw JSON", outer{Raw: json.RawMessage(`[1, NaN]`)}, `{"raw":[1, NaN]}`},
		{"what an interface holds", outer{Any: []any{at, []byte("é"), []byte{0xff}, nil}},
			`{"any":[` + iso + `,{"__type__":"bytes","__value__":"é"},{"__type__":"base64","__value__":"/w=="},null]}`},
		{"quoted by tag", outer{Id: 7}, `{"id":"7"}`},
		{"large numbers", outer{Large: new(big.Int).Lsh(big.NewInt(1), 70), Num: "12345678901234567890"}, `{"large":1180591620717411303424,"num":12345678901234567890}`},
		{"a pointer to a time", outer{When: &at}, `{"when":` + iso + `}`},
		{"a signature", outer{Sig: &Signature{Task: "t"}}, `{"sig":{"task":"t","args":[],"kwargs":{},"options":{},"subtask_type":null,"immutable":false}}`},
		{"keys of numbers", map[int]float32{2: 0.1, 1: 1}, `{"1":1.0,"2":0.1}`},
		{"an array", [2]time.Time{at, at}, `[` + iso + `,` + iso + `]`},
		{"a nil list", []float64(nil), `null`},
		{"a nil pointer", (*time.Time)(nil), `null`},
		{"a local mean time", time.Date(1900, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 3208)), `{"__type__":"datetime","__value__":"1900-01-01T00:00:00+00:53:28"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Marshal(c.in)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
	_ = named{}.z
}

func TestMarshalAgreesWithEncodingJSON(t *testing.T) {
	type deep struct {
		A any `json:"same"`
		B any
	}
	type side struct {
		B any
		C any
	}
	type top struct {
		deep
		side
		A   any `json:"same"`
		Tag struct {
			X any `json:",omitempty"`
		} `json:"tag"`
		unseen any
		Empty  []any `json:"empty,omitempty"`
	}
	v := top{A: 1, deep: deep{A: 2, B: 3}, side: side{B: 4, C: "<&>"}}
	v.unseen = v.Empty
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Marshal(v)
	if err != nil || !reflect.DeepEqual(generic(t, got), generic(t, want)) {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

func TestMarshalRefuses(t *testing.T) {
	type loop struct {
		Next *loop
		F    float64
	}
	round := &loop{}
	round.Next = round
	cases := []struct {
		name, want string
		in         any
	}{
		{"a value that holds itself", "nested more than 400 levels", round},
		{"a channel", "unsupported type", map[string]any{"c": make(chan int)}},
		{"a year Python lacks", "the year 10000", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"a decimal that is none", "not a decimal", []Decimal{"1.2.3"}},
		{"a day that is none", "not a date", Date{2030, 2, 30}},
		{"a time of day after midnight", "not a time of day", TimeOfDay(25 * time.Hour)},
		{"raw text that is no JSON", "raw JSON", json.RawMessage(`{`)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Marshal(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v; want …%s…", got, err, c.want)
			}
		})
	}
}

func TestValuesReadBothForms(t *testing.T) {
	cases := []struct {
		in   string
		dst  any
		want any // nil for an error
	}{
		{`"2030-01-02T03:04:05Z"`, &DateTime{}, DateTime{Time: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}},
		{`"2030-01-02 03:04"`, &DateTime{}, DateTime{time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC), true}},
		{`{"__type__":"datetime","__value__":"2030-01-02"}`, &DateTime{}, DateTime{time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC), true}},
		{`{"__type__":"date","__value__":"2030-01-02"}`, &DateTime{}, nil},
		{`"2030-02-30"`, &Date{}, nil},
		{`"2030-02-28T10:00:00"`, &Date{}, Date{2030, 2, 28}},
		{`{"__type__":"time","__value__":"03:04:05.000006"}`, new(TimeOfDay), TimeOfDay(11045*time.Second + 6*time.Microsecond)},
		{`"03:04"`, new(TimeOfDay), TimeOfDay(11040 * time.Second)},
		{`"03:04:05+09:00"`, new(TimeOfDay), nil},
		{`1.10`, new(Decimal), Decimal("1.10")},
		{`"-1E+3"`, new(Decimal), Decimal("-1E+3")},
		{`"1e"`, new(Decimal), nil},
		{`true`, new(Decimal), nil},
		{`{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678","version":4}}`, &UUID{}, UUID{0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78}},
		{`"12345678"`, &UUID{}, nil},
		{`"AP8="`, &Bytes{}, Bytes("\x00\xff")},
		{`{"__type__":"bytes","__value__":"é"}`, &Bytes{}, Bytes("é")},
		{`"&"`, &Bytes{}, nil},
		{`null`, &Date{}, Date{}},
	}
	for _, c := range cases {
		err := json.Unmarshal([]byte(c.in), c.dst)
		got := reflect.ValueOf(c.dst).Elem().Interface()
		if (err == nil) != (c.want != nil) || c.want != nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s into %T: got %v, %v; want %v", c.in, got, got, err, c.want)
		}
	}
}

func TestPlainKeepsOrderAndWhatItDoesNotKnow(t *testing.T) {
	const in = `{"z": [1, {"__value__": "2030-01-02T03:04:05.5+05:53:28", "__type__": "datetime"}], "a": {"__type__": "set", "__value__": [{"__type__": "bytes", "__value__": "a"}]}, "b": {"__type__": "uuid"}, "n": NaN}`
	const want = `{"z": [1, "2030-01-01T21:10:37.5Z"], "a": {"__type__": "set", "__value__": ["YQ=="]}, "b": {"__type__": "uuid"}, "n": "NaN"}`
	got, err := Plain(json.RawMessage(in))
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []string{`{"__type__":"datetime","__value__":"soon"}`, `[{"__type__":"uuid","__value__":{"hex":"1"}}]`, `{"__type__":"bytes","__value__":1}`} {
		if got, err := Plain(json.RawMessage(bad)); err == nil {
			t.Errorf("Plain(%s) = %s; want an error", bad, got)
		}
	}
	if _, err := Plain(json.RawMessage(strings.Repeat("[", 501) + strings.Repeat("]", 501))); !errors.Is(err, errTooDeep) {
		t.Errorf("501 levels: %v", err)
	}
}

func TestNaNReachesFloats(t *testing.T) {
	var v struct {
		F   float64
		S   float32
		Any any
		M   map[string]float64
		L   []*float64
		D   Decimal
		N   json.Number
		Raw json.RawMessage
		T   string
	}
	const in = `{"F": NaN, "S": -Infinity, "Any": [Infinity, {"k": NaN}], "M": {"k": NaN}, "L": [NaN, 1], "D": NaN, "N": Infinity, "Raw": [NaN], "T": "NaN"}`
	if err := Unmarshal(json.RawMessage(in), &v); err != nil {
		t.Fatal(err)
	}
	list := v.Any.([]any)
	for name, f := range map[string]float64{"F": v.F, "M": v.M["k"], "L": *v.L[0], "Any": list[1].(map[string]any)["k"].(float64)} {
		if !math.IsNaN(f) {
			t.Errorf("%s is %v, want NaN", name, f)
		}
	}
	if !math.IsInf(float64(v.S), -1) || list[0] != math.Inf(1) || *v.L[1] != 1 || v.D != "NaN" || v.N != "Infinity" || v.T != "NaN" {
		t.Errorf("%+v", v)
	}
	if got := Bare(v.Raw); string(got) != "[NaN]" || !json.Valid(v.Raw) {
		t.Errorf("raw %s, bare %s", v.Raw, got)
	}
	var n int
	if err := Unmarshal(json.RawMessage(`NaN`), &n); err == nil || !strings.Contains(err.Error(), "number NaN") {
		t.Errorf("NaN into an int: %v", err)
	}
}

func TestWhatPythonWritesBareGoesBackBare(t *testing.T) {
	const args = `[NaN,"NaN","\u0000\u004eaN","abc\"\u0000NaN"]`
	// The third is the string that a mark looks like.
	in := strings.Replace(args, `\u004eaN`, `NaN`, 1)
	m := engine.Message{Headers: []byte(`{"task":"t","id":"i","x":Infinity}`), Body: []byte(`[` + in + `, {"k": [-Infinity]}, {"chain":[{"task":"t","args":[NaN]}]}]`)}
	task, err := decodeWhole(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range task.Args {
		if !json.Valid(raw) {
			t.Errorf("%s is not JSON", raw)
		}
	}
	out, err := task.Message()
	if err != nil || !strings.HasPrefix(string(out.Body), `[`+args+`,{"k":[-Infinity]},{"callbacks":null,"errbacks":null,"chain":[{"task":"t","args":[NaN],`) {
		t.Errorf("body %s, %v; want it as it came", out.Body, err)
	}
	if !strings.HasSuffix(string(out.Headers), `"x":Infinity}`) {
		t.Errorf("headers %s", out.Headers)
	}
	// A step of the chain passes through encoding/json and comes out the same.
	step, err := json.Marshal(task.Embed.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	var again Signature
	if err := json.Unmarshal(step, &again); err != nil || !reflect.DeepEqual(again.Args, task.Embed.Chain[0].Args) {
		t.Errorf("signature %s became %+v, %v", step, again, err)
	}
}

func TestStringsThatLookLikeMarksStayStrings(t *testing.T) {
	for _, s := range []string{"\x00NaN", "\x00-Infinity", "\x00", "NaN", "\x00NaNs"} {
		for _, v := range []any{s, []any{s}, map[string]string{"k": s}} {
			raw, err := Marshal(v)
			if err != nil || string(Bare(raw)) != string(raw) {
				t.Errorf("Marshal(%q) = %s, bare %s, %v", v, raw, Bare(raw), err)
			}
		}
	}
}
