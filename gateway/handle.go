package gateway

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// handle keeps the vectors of a connection that follows too many sources for
// an id: before a batch of events goes out, it is in a stream where each was.
// An id is then the stream's name, the batch's number and the event's in it.
type handle struct {
	name   string
	writer *stream.Writer
	batch  int
}

// batch is what the stream of a handle keeps.
type batch struct {
	Number int    `json:"n"`
	Before vector `json:"before"`          // the batch
	Steps  []step `json:"steps,omitempty"` // one for each event
}

type step struct {
	Source int             `json:"s"`
	At     engine.Position `json:"at"`
}

const (
	handlePrefix  = "rhubarb.cursor."
	handleBatches = 256 // are kept
	handleAge     = time.Hour
)

func openHandle(ctx context.Context, s engine.Streams) (*handle, error) {
	h := &handle{name: rand.Text()}
	var err error
	h.writer, err = stream.Begin(ctx, s, handlePrefix+h.name, &stream.Options{
		Retention: engine.Retention{Count: handleBatches, Age: handleAge}, Keep: handleAge,
	})
	return h, err
}

// keep stores where each event of a batch is. The ids count in it.
func (h *handle) keep(ctx context.Context, before vector, steps []step) error {
	h.batch++
	raw, err := json.Marshal(batch{Number: h.batch, Before: before, Steps: steps})
	if err != nil {
		return err
	}
	return h.writer.Append(ctx, raw)
}

// id is that of an event of the last batch.
func (h *handle) id(event int) string {
	return handleMark + h.name + "." + strconv.Itoa(h.batch) + "." + strconv.Itoa(event)
}

// parseHandle reads an id that id made.
func parseHandle(id string) (name string, number, event int, ok bool) {
	parts := strings.Split(strings.TrimPrefix(id, handleMark), ".")
	if len(parts) != 3 || len(parts[0]) != len(rand.Text()) || !strings.HasPrefix(id, handleMark) {
		return "", 0, 0, false
	}
	number, err1 := strconv.Atoi(parts[1])
	event, err2 := strconv.Atoi(parts[2])
	h := handle{name: parts[0], batch: number}
	return parts[0], number, event, err1 == nil && err2 == nil && h.id(event) == id
}

// readHandle finds the vector that an id names. It is nil if it is kept no
// more, or never was.
func readHandle(ctx context.Context, s engine.Streams, id string, sources []source) (vector, error) {
	name, number, event, ok := parseHandle(id)
	if !ok {
		return nil, nil
	}
	recs, err := s.Read(ctx, handlePrefix+name, "", handleBatches+2) // reset and end
	if err != nil {
		return nil, err
	}
	for _, r := range recs {
		var b batch
		if r.Kind != engine.KindData || json.Unmarshal(r.Payload, &b) != nil || b.Number != number {
			continue
		}
		return b.after(event, len(sources)), nil
	}
	return nil, nil
}

// after is the vector after an event of the batch, nil if it has none such or
// is of other sources.
func (b *batch) after(event, sources int) vector {
	if len(b.Before) != sources || event < 0 || event >= len(b.Steps) {
		return nil
	}
	v := b.Before
	for _, s := range b.Steps[:event+1] {
		if s.Source < 0 || s.Source >= sources {
			return nil
		}
		v[s.Source] = s.At
	}
	return v
}
