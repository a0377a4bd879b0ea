package celery_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// end is what a task comes to.
type end struct {
	State string
	Value any    // after SUCCESS
	Error string // otherwise the exception's type
	Text  string // and what its text holds
}

func succeeded(v any) end { return end{State: "SUCCESS", Value: v} }

func failed(typ, text string) end { return end{State: "FAILURE", Error: typ, Text: text} }

// ends checks what the client is told of a call, and what is stored.
func (r *run) ends(c *call, want end) {
	r.Helper()
	got, err := r.from.get(r.ctx, c.ID)
	if err != nil {
		r.Fatalf("get %s: %v", c.Task, err)
	}
	if got.State != want.State || got.Error != want.Error || !strings.Contains(got.Text, want.Text) {
		r.Fatalf("the client is told %+v of %s, want %+v", got, c.Task, want)
	}
	if want.Error == "" {
		r.same("the client's value", json.RawMessage(got.Value), want.Value, celery.Plain)
	}
	r.stored(c, want)
}

// stored checks the record in Redis and returns it.
func (r *run) stored(c *call, want end) *celery.Result {
	r.Helper()
	raw, ttl := r.record(c)
	rec, err := celery.DecodeResult(raw)
	if err != nil {
		r.Fatalf("the record %s: %v", raw, err)
	}
	if rec.Status != want.State || rec.TaskID != c.ID {
		r.Fatalf("the record is %s, want %s of %s", raw, want.State, c.ID)
	}
	if ttl < 86400-int(2*patience/time.Second) || ttl > 86400 {
		r.Errorf("the record is kept for %d s, want a day", ttl)
	}
	r.fields(raw, rec)
	if want.Error == "" {
		r.same("the stored value", rec.Result, want.Value, bare)
		return rec
	}
	x, ok := celery.ExceptionOf(rec.Result)
	if !ok || x.Type != want.Error || x.Module == "" || !strings.Contains(x.Text(), want.Text) {
		r.Errorf("the stored exception is %s, want %s with %q", rec.Result, want.Error, want.Text)
	}
	return rec
}

// record returns what is stored of a call, and for how long, in seconds.
func (r *run) record(c *call) (raw []byte, ttl int) {
	r.Helper()
	var got struct {
		Record *string
		TTL    int
	}
	if err := site.hears[python].do(r.ctx, "record", map[string]any{"id": c.ID}, &got); err != nil {
		r.Fatal(err)
	}
	if got.Record == nil {
		return nil, 0
	}
	return []byte(*got.Record), got.TTL
}

// Fields of every record, and of those a worker stores with result_extended.
var (
	plainFields    = []string{"children", "date_done", "result", "status", "task_id", "traceback"}
	extendedFields = []string{"args", "kwargs", "name", "queue", "retries", "worker"}
)

// fields checks which ones the record has: those of a task and no other.
func (r *run) fields(raw []byte, rec *celery.Result) {
	r.Helper()
	want := slices.Clone(plainFields)
	if rec.ParentID != "" {
		want = append(want, "parent_id")
	}
	if rec.GroupID != "" { // several links are sent as a group
		want = append(want, "group_id")
	}
	if r.second {
		want = append(want, extendedFields...)
		want = slices.AppendSeq(want, maps.Keys(r.call.Stamps))
	}
	if r.second && len(r.call.Stamps) > 0 {
		want = append(want, "stamped_headers")
	}
	if got := keys(raw); !slices.Equal(got, sorted(want)) {
		r.Errorf("the record has the fields %q, want %q", got, sorted(want))
	}
	if ready := slices.Contains([]string{"SUCCESS", "FAILURE", "REVOKED", "IGNORED"}, rec.Status); ready == rec.DateDone.IsZero() {
		r.Errorf("the record of state %s has date_done %v", rec.Status, rec.DateDone)
	}
}

// keys are those of a JSON object as Python writes it.
func keys(raw []byte) []string {
	rec, err := celery.DecodeResult(raw)
	if err != nil {
		return nil
	}
	if raw, err = rec.MarshalJSON(); err != nil {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil
	}
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return sorted(names)
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}

// bare leaves kombu's types as they are.
func bare(raw json.RawMessage) (json.RawMessage, error) { return raw, nil }

// same compares a value as kombu's JSON with a Go value, both in a form.
func (r *run) same(what string, raw json.RawMessage, want any, form func(json.RawMessage) (json.RawMessage, error)) {
	r.Helper()
	wanted, err := celery.Marshal(want)
	if err != nil {
		r.Fatal(err)
	}
	got, gotErr := reading(raw, form)
	exp, expErr := reading(wanted, form)
	if gotErr != nil || expErr != nil || !reflect.DeepEqual(got, exp) {
		r.Errorf("%s is %.500s, want %.500s (%v %v)", what, raw, wanted, gotErr, expErr)
	}
}

// reading is a value in which equal numbers are equal: whole ones of any size
// as text, others as floats.
func reading(raw json.RawMessage, form func(json.RawMessage) (json.RawMessage, error)) (v any, err error) {
	// A record around it turns NaN and the infinities into JSON.
	rec, err := celery.DecodeResult(slices.Concat([]byte(`{"status":"SUCCESS","result":`), raw, []byte(`}`)))
	if err != nil {
		return nil, err
	}
	if raw, err = form(rec.Result); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return exact(v), err
}

func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := strconv.ParseFloat(v.String(), 64); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}
