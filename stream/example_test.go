package stream_test

import (
	"context"
	"fmt"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// A log that belongs to no task: written here, read from any place.
func Example() {
	ctx := context.Background()
	eng := memengine.New()
	defer eng.Close()

	w, err := stream.Begin(ctx, eng, "news", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	w.Append(ctx, []byte("one"), []byte("two"))
	w.Append(ctx, []byte("three"))
	w.End(ctx, nil)

	s := stream.Open(eng, "news")
	var place engine.Position
	for rec, err := range s.Tail(ctx, "") {
		if err != nil || string(rec.Payload) == "two" {
			break // the reader leaves
		}
		place = rec.Pos
	}
	for rec := range s.Tail(ctx, place) { // and comes back
		fmt.Println(rec.Kind, string(rec.Payload))
	}
	// Output:
	// data two
	// data three
	// end
}

// A writer that keeps the last record only: who comes late is told.
func ExampleStream_Read() {
	ctx := context.Background()
	eng := memengine.New()
	defer eng.Close()

	w, err := stream.Begin(ctx, eng, "price", &stream.Options{Retention: engine.Retention{Count: 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	w.Append(ctx, []byte("10"), []byte("11"), []byte("12"))

	recs, err := stream.Open(eng, "price").Read(ctx, "", 100)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rec := range recs[1:] { // the first is the reset that opens every attempt
		fmt.Println(rec.Kind, string(rec.Payload))
	}
	// Output:
	// gap {"missing":2,"reason":"retention"}
	// data 12
}

// A reader far behind gets the text so far as one record.
func ExampleMerger() {
	ctx := context.Background()
	eng := memengine.New()
	defer eng.Close()

	w, err := stream.Begin(ctx, eng, "answer", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	w.Append(ctx, []byte(`"Rhubarb "`), []byte(`"is a "`), []byte(`"vegetable."`))
	w.End(ctx, nil)

	slow := &stream.Merger{Join: stream.JoinJSON}
	for recs := range slow.Batches(stream.Open(eng, "answer").Batches(ctx, "")) {
		for _, rec := range recs {
			if rec.Kind == engine.KindData {
				fmt.Println(string(rec.Payload))
			}
		}
	}
	fmt.Println(slow.Stats().Merged, "merged")
	// Output:
	// "Rhubarb is a vegetable."
	// 2 merged
}
