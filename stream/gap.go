package stream

import (
	"encoding/json"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Gap is the payload of a gap record, as JSON.
type Gap struct {
	// Missing is how many records are gone; 0 if that is not known.
	Missing uint64 `json:"missing,omitempty"`
	// Reason is [Retention] or [Position].
	Reason string `json:"reason"`
}

// Reasons of a gap.
const (
	// Retention: records were dropped to bound the stream.
	Retention = "retention"
	// Position: the reader's position is not of this stream, or what it named
	// is gone. All that is retained follows, from the start.
	Position = "position"
)

// gaps follows one reader's records and finds what is missing among them.
type gaps struct {
	name  string
	cur   engine.Cursor
	fresh bool // nothing was read yet, from the start
}

// fill puts gap records where records are missing.
func (g *gaps) fill(recs []engine.Record) []engine.Record {
	out := make([]engine.Record, 0, len(recs)+1)
	for _, r := range recs {
		if gap := g.before(r); gap.Reason != "" {
			out = append(out, g.record(gap, r.Attempt, r.Time))
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

// before says what is missing before r; nothing if there is no reason. A reset
// makes all before it void, so nothing that matters is missing there. It may
// open the same attempt again, after a run that was handed back; a lower one
// shows that this is another stream of the same name.
func (g *gaps) before(r engine.Record) Gap {
	same := !g.fresh && r.Attempt == g.cur.Attempt
	switch {
	case r.Kind == engine.KindEnd && r.Attempt == 0:
		return Gap{} // it ended without a run that counts
	case !g.fresh && r.Attempt < g.cur.Attempt:
		return Gap{Reason: Position}
	case r.Kind == engine.KindReset || same && r.N == g.cur.N+1:
		return Gap{}
	case same && r.N <= g.cur.N:
		return Gap{Reason: Position}
	case same:
		return Gap{Missing: r.N - g.cur.N - 1, Reason: Retention}
	}
	return Gap{Missing: r.N, Reason: Retention} // the attempt's reset is gone too
}

// record makes a gap record. Its position is that of the reader, so that one
// who leaves there comes back to the same place.
func (g *gaps) record(what Gap, attempt int, at time.Time) engine.Record {
	payload, err := json.Marshal(what)
	if err != nil { // numbers and strings always encode
		payload = nil
	}
	return engine.Record{Pos: g.cur.Position(g.name), Attempt: attempt, N: g.cur.N, Kind: engine.KindGap, Payload: payload, Time: at}
}
