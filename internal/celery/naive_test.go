package celery

import (
	"testing"
	"time"
)

// A handler's own types go through Unmarshal, so a naive datetime must be one
// wherever it stands.
func TestNaiveStaysNaive(t *testing.T) {
	const noon = `{"__type__":"datetime","__value__":"2030-01-02T12:00:00.25"}`
	var alone DateTime
	var inside struct {
		At    DateTime
		Other DateTime
		Plain time.Time
	}
	zoned := `{"__type__":"datetime","__value__":"2030-01-02T12:00:00.25+00:00"}`
	if err := Unmarshal([]byte(noon), &alone); err != nil {
		t.Fatal(err)
	}
	if err := Unmarshal([]byte(`{"At":`+noon+`,"Other":`+zoned+`,"Plain":`+noon+`}`), &inside); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2030, 1, 2, 12, 0, 0, 250_000_000, time.UTC)
	if !alone.Naive || !inside.At.Naive || inside.Other.Naive {
		t.Errorf("naive: alone %v, inside %v, one with a zone %v; want true, true, false", alone.Naive, inside.At.Naive, inside.Other.Naive)
	}
	for _, got := range []time.Time{alone.Time, inside.At.Time, inside.Other.Time, inside.Plain} {
		if !got.Equal(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
