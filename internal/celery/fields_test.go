package celery

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestGoldenFields(t *testing.T) {
	const me = "47a9381b-7e9b-3c29-8678-1d38ebf1d016" // the client's reply queue
	number := func(n int) *int { return &n }
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	cases := []struct {
		file string
		want Task // ID and RootID are those of the message
		args string
	}{
		{"args", Task{ArgsRepr: "(2, 3)"}, "[2 3]"},
		{"countdown", Task{ETA: at("2026-11-23T07:53:13.609491Z"), ArgsRepr: "(2, 3)"}, "[2 3]"},
		{"eta-tz", Task{ETA: at("2030-01-01T18:04:05.678901Z"), ArgsRepr: "(2, 3)"}, "[2 3]"},
		{"expires", Task{Expires: at("2026-11-23T07:54:13.612969Z"), ArgsRepr: "(2, 3)"}, "[2 3]"},
		{"options", Task{Shadow: "nice.name", HardLimit: 30 * time.Second, SoftLimit: 20 * time.Second,
			IgnoreResult: true, Extra: map[string]json.RawMessage{"tenant": []byte(`"t1"`)}, ArgsRepr: "(2, 3)"}, "[2 3]"},
		{"stamped", Task{StampedHeaders: []string{"mtask_id"}, ArgsRepr: "(1, 1)",
			Stamps: map[string]json.RawMessage{"mtask_id": []byte(`"stamp-1"`)}}, "[1 1]"},
		{"gzip", Task{Name: "proj.send_email", Compression: "application/x-gzip", ArgsRepr: "('a@example.org',)"}, `["a@example.org"]`},
		{"chord", Task{Group: "95105d13-9394-4e18-ac6c-3689158c594c", GroupIndex: number(2), ArgsRepr: "(2, 2)"}, "[2 2]"},
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			got, err := decodeWhole(messages(t, "testdata/send-"+c.file+".json")[0])
			if err != nil {
				t.Fatal(err)
			}
			if args := fmt.Sprintf("%s", got.Args); args != c.args {
				t.Errorf("args %s, want %s", args, c.args)
			}
			want := c.want
			want.Lang, want.Origin, want.KwargsRepr, want.ReplyTo = "py", "gen1@host", "{}", me
			if want.Name == "" {
				want.Name = "proj.add"
			}
			want.ID, want.RootID = got.ID, got.ID
			want.WantResult = !want.IgnoreResult // Celery 5.6 says one or the other
			for _, p := range []*time.Time{&got.ETA, &got.Expires} {
				if !p.IsZero() {
					*p = p.UTC()
				}
			}
			want.Args, want.Embed = got.Args, got.Embed // compared above and below
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("\n got %+v\nwant %+v", got, &want)
			}
		})
	}
}

func TestGoldenEmbed(t *testing.T) {
	read := func(name string) Embed {
		task, err := decodeWhole(messages(t, "testdata/send-"+name+".json")[0])
		if err != nil {
			t.Fatal(err)
		}
		return task.Embed
	}
	e := read("link")
	if len(e.Callbacks) != 1 || e.Callbacks[0].Task != "proj.add" || len(e.Errbacks) != 1 || e.Errbacks[0].Task != "proj.onerr" || e.Chain != nil || e.Chord != nil {
		t.Errorf("link: %+v", e)
	}
	e = read("chain")
	if len(e.Chain) != 2 || string(e.Chain[1].Args[0]) != "4" || string(e.Chain[0].Args[0]) != "5" {
		t.Errorf("chain, last step first: %+v", e)
	}
	e = read("chord")
	if e.Chord == nil || e.Chord.Task != "proj.tsum" || string(e.Chord.Options["group_id"]) != `"95105d13-9394-4e18-ac6c-3689158c594c"` {
		t.Errorf("chord: %+v", e.Chord)
	}
}

func TestGoldenSpecialTypes(t *testing.T) {
	task, err := decodeWhole(messages(t, "testdata/send-special-types.json")[0])
	if err != nil {
		t.Fatal(err)
	}
	list, err := elements(task.Args[0])
	if err != nil || len(list) != 11 {
		t.Fatalf("%d values, %v", len(list), err)
	}
	var when time.Time
	var naive DateTime
	var day Date
	var clock TimeOfDay
	var dec Decimal
	var id UUID
	var data []byte
	var f float64
	var n int64
	for i, dst := range []any{&when, &naive, &day, &clock, &dec, &id, &data, &f, &n} {
		if err := Unmarshal(list[i], dst); err != nil {
			t.Errorf("value %d, %s: %v", i, list[i], err)
		}
	}
	if want := time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.UTC); !when.Equal(want) {
		t.Errorf("datetime %v, want %v", when, want)
	}
	if err := json.Unmarshal(list[1], &naive); err != nil || !naive.Naive || naive.Unix() != 1893553445 {
		t.Errorf("naive datetime %+v, %v", naive, err)
	}
	if day != (Date{2030, 1, 2}) || clock != TimeOfDay(3*time.Hour+4*time.Minute+5*time.Second) || dec != "1.10" {
		t.Errorf("date %v, time %v, decimal %v", day, clock, dec)
	}
	if id.String() != "12345678-1234-5678-1234-567812345678" || string(data) != "\x00\xff" || f != 1.5 || n != 1<<60 {
		t.Errorf("uuid %v, bytes %q, float %v, int %v", id, data, f, n)
	}
	// Each type of ours writes what Python wrote.
	for i, v := range []any{when, naive, day, clock, dec, id, data, f, n, nil, true} {
		got, err := Marshal(v)
		if err != nil || !reflect.DeepEqual(generic(t, got), generic(t, list[i])) {
			t.Errorf("Marshal(%v) = %s, %v; want %s", v, got, err, list[i])
		}
	}
}

func TestGoldenResultOfTypes(t *testing.T) {
	var results []string
	captured(t, "testdata/stage-types.json", `{"status"`, func(text string) {
		if strings.Contains(text, "1152921504606846976") {
			results = append(results, text)
		}
	})
	r, err := DecodeResult([]byte(results[0]))
	if err != nil {
		t.Fatal(err)
	}
	var list []any
	if err := Unmarshal(r.Result, &list); err != nil {
		t.Fatal(err)
	}
	if f, ok := list[13].(float64); !ok || f == f { // NaN is not itself
		t.Errorf("NaN read as %#v", list[13])
	}
	raws, err := elements(r.Result)
	if err != nil {
		t.Fatal(err)
	}
	var huge big.Int
	if err := Unmarshal(raws[12], &huge); err != nil || huge.Cmp(new(big.Int).Lsh(big.NewInt(1), 70)) != 0 {
		t.Errorf("2^70 read as %v, %v", &huge, err)
	}
	if raw, err := Marshal(huge); string(raw) != "1180591620717411303424" || err != nil {
		t.Errorf("2^70 written as %s, %v", raw, err)
	}
}

func TestGoldenExtendedResult(t *testing.T) {
	n := 0
	captured(t, "testdata/stage-extended.json", `{"status": "SUCCESS"`, func(text string) {
		n++
		r, err := DecodeResult([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if r.Name != "proj.add" || string(r.Args) != "[2, 3]" || string(r.Kwargs) != "{}" || r.Worker != "celery@host" ||
			r.Retries == nil || *r.Retries != 0 || r.Queue != "celery" || len(r.Extra) != 0 {
			t.Errorf("%+v", r)
		}
	})
	if n == 0 {
		t.Error("no result")
	}
}

func TestGoldenExceptions(t *testing.T) {
	want := map[string]Exception{
		"result-failure.json":     Exception{Type: "ValueError", Module: "builtins"}.With("boom"),
		"result-retry.json":       Exception{Type: "KeyError", Module: "builtins"}.With("not yet"),
		"revoke.json":             Exception{Type: "TaskRevokedError", Module: "celery.exceptions"}.With("revoked"),
		"stage-failure-odd.json":  Exception{Type: "Broken", Module: "wireapp"}.With("<class 'object'>"),
		"stage-extended.json":     Exception{Type: "ValueError", Module: "builtins"}.With("boom", 7),
		"result-chord-error.json": {},
	}
	for file, x := range want {
		n := 0
		captured(t, "testdata/"+file, `{"status"`, func(text string) {
			r, err := DecodeResult([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := ExceptionOf(r.Result)
			if !ok {
				return
			}
			n++
			if x.Type != "" && !reflect.DeepEqual(got, x) {
				t.Errorf("%s: got %+v, want %+v", file, got, x)
			}
			if !reflect.DeepEqual(generic(t, got.JSON()), generic(t, r.Result)) {
				t.Errorf("%s: %s became %s", file, r.Result, got.JSON())
			}
		})
		if n == 0 {
			t.Errorf("%s: no exception", file)
		}
	}
	x, ok := ExceptionOf([]byte(`{"exc_type":"Odd","exc_message":"as text"}`))
	if !ok || x.Text() != "as text" {
		t.Errorf("an old worker's exception: %+v, %v", x, ok)
	}
}
