package stream

import (
	"encoding/json"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Gap is the payload of a gap record.
type Gap struct {
	// Missing is how many records are gone; 0 if that is not known.
	Missing uint64 `json:"missing,omitempty"`
	// Reason is "retention" when they were dropped to bound the stream, or
	// "position" when the reader's position is not of this stream.
	Reason string `json:"reason"`
}

// gaps follows one reader's records and finds what is missing among them.
type gaps struct {
	name    string
	cur     engine.Cursor
	fresh   bool // nothing was read yet, from the start
	foreign bool // the position was not of this stream
}

// fill puts gap records where records are missing.
func (g *gaps) fill(recs []engine.Record) []engine.Record {
	if len(recs) == 0 {
		return recs
	}
	out := make([]engine.Record, 0, len(recs)+1)
	if g.foreign {
		g.foreign, g.fresh = false, true
		out = append(out, g.record(recs[0], Gap{Reason: "position"}))
	}
	for _, r := range recs {
		if missing, gap := g.missing(r); gap {
			out = append(out, g.record(r, Gap{Missing: missing, Reason: "retention"}))
		}
		out = append(out, r)
		g.fresh = false
		if cur, err := r.Pos.Cursor(g.name); err == nil {
			g.cur = cur
		}
		g.cur.Attempt, g.cur.N = r.Attempt, r.N
	}
	return out
}

// missing reports whether records before r are gone, and how many if that can
// be known. A reset makes all before it void, so nothing that matters is
// missing there.
func (g *gaps) missing(r engine.Record) (uint64, bool) {
	switch {
	case r.Kind == engine.KindReset:
		return 0, false
	case r.Attempt == g.cur.Attempt && !g.fresh:
		return r.N - g.cur.N - 1, r.N > g.cur.N+1
	case r.Kind == engine.KindEnd && r.Attempt == 0:
		return 0, false // it ended before it began
	}
	return r.N, true // a record of an attempt whose reset was not seen
}

// record makes a gap record. Its position is that of the reader, so that one
// who leaves there comes back to the same place.
func (g *gaps) record(before engine.Record, what Gap) engine.Record {
	payload, err := json.Marshal(what)
	if err != nil { // numbers and strings always encode
		payload = nil
	}
	return engine.Record{Pos: g.cur.Position(g.name), Attempt: before.Attempt, N: g.cur.N, Kind: engine.KindGap, Payload: payload, Time: before.Time}
}
