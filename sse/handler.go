package sse

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/stream"
)

// StreamOptions configures ServeStream. The zero value is ready to use.
type StreamOptions struct {
	Options

	// MaxAge closes connections after that time, give or take a fifth, so that
	// they spread over servers anew. Zero is never.
	MaxAge time.Duration

	// Until closes the connection then, for permissions that end. Zero is
	// never. Every attach should be authorised anew.
	Until time.Time

	// Stats counts what happens; nil counts nothing.
	Stats *Stats

	// Logger gets engine failures; nil means slog.Default().
	Logger *slog.Logger
}

// Stats counts connections of stream handlers. The zero value is ready to use.
type Stats struct {
	Open    atomic.Int64  // now
	Opened  atomic.Uint64 // ever
	Events  atomic.Uint64 // sent
	Bytes   atomic.Uint64 // sent
	Gaps    atomic.Uint64 // told to readers
	Slow    atomic.Uint64 // closed because they did not read
	Failed  atomic.Uint64 // closed because the engine failed
	AtEnd   atomic.Uint64 // answered with 204
	Refused atomic.Uint64 // not allowed
}

// GapHeader tells clients that read headers that records after their position
// are gone.
const GapHeader = "Rhubarb-Gap"

// maxWrite bounds what is joined into one write, in bytes.
const maxWrite = 64 << 10

// ServeStream serves a stream as events, from where the client was, see
// [LastEventID]. A data record is an event without a type; progress, state,
// reset, gap and end are the types of the others. Every event has the record's
// position as its id. After end the connection is closed; a client that is at
// the end already gets 204, which tells an EventSource not to come back.
//
// What a slow client has not taken stays in the store: nothing is kept for it
// in memory but one batch. A client that takes nothing for the write timeout
// is closed.
func ServeStream(w http.ResponseWriter, r *http.Request, s *stream.Stream, opts *StreamOptions) {
	var o StreamOptions
	if opts != nil {
		o = *opts
	}
	if o.Stats == nil {
		o.Stats = &Stats{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if ok, _ := o.admit(w, r); !ok {
		o.Stats.Refused.Add(1)
		return
	}
	if !accepts(r) {
		http.Error(w, "sse: this is text/event-stream, which the request does not accept", http.StatusNotAcceptable)
		return
	}
	after := engine.Position(LastEventID(r))
	if at, err := s.Attach(r.Context(), after); err == nil {
		if _, lost := at.Lost(); lost {
			w.Header().Set(GapHeader, stream.Position)
		}
		if at.AtEnd() {
			o.Stats.AtEnd.Add(1)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	c, err := open(w, r, o.Options)
	if err != nil {
		return
	}
	defer c.Close()
	o.Stats.Open.Add(1)
	defer o.Stats.Open.Add(-1)
	o.Stats.Opened.Add(1)
	o.serve(c, s, after)
}

func (o *StreamOptions) serve(c *Conn, s *stream.Stream, after engine.Position) {
	ctx, cancel := o.bound(c.Context())
	defer cancel()
	for recs, err := range s.Batches(ctx, after) {
		if err != nil {
			switch {
			case c.Context().Err() != nil:
			case ctx.Err() != nil: // its age, or its permission
				c.goAway(time.Second + rand.N(2*time.Second))
			default:
				o.Stats.Failed.Add(1)
				o.Logger.Warn("serve stream", "stream", s.Name(), "err", err)
				c.goAway(time.Second + rand.N(4*time.Second))
			}
			return
		}
		if !o.send(c, recs) {
			return
		}
	}
}

// bound ends a connection in time.
func (o *StreamOptions) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	end := o.Until
	if o.MaxAge > 0 {
		age := o.MaxAge*4/5 + rand.N(o.MaxAge*2/5+1)
		if at := time.Now().Add(age); end.IsZero() || at.Before(end) {
			end = at
		}
	}
	if end.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end)
}

// send writes records, as many as fit together in one write.
func (o *StreamOptions) send(c *Conn, recs []engine.Record) bool {
	var buf []byte
	flush := func() bool {
		if len(buf) == 0 {
			return true
		}
		if _, err := c.Write(buf); err != nil {
			if errors.Is(err, http.ErrHandlerTimeout) || isTimeout(err) {
				o.Stats.Slow.Add(1)
			}
			return false
		}
		o.Stats.Bytes.Add(uint64(len(buf)))
		buf = buf[:0]
		return true
	}
	for _, r := range recs {
		var err error
		if buf, err = AppendEvent(buf, EventOf(r)); err != nil {
			o.Logger.Error("encode record", "err", err)
			return false
		}
		o.Stats.Events.Add(1)
		if r.Kind == engine.KindGap {
			o.Stats.Gaps.Add(1)
		}
		if len(buf) >= maxWrite && !flush() {
			return false
		}
	}
	return flush()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// EventOf is a record as an event. A record of another kind than data always
// has data too, since browsers do not dispatch events without: {} for none.
func EventOf(r engine.Record) Event {
	e := Event{ID: string(r.Pos), Data: string(r.Payload)}
	if r.Kind != engine.KindData {
		e.Type = string(r.Kind)
	}
	if r.Kind == engine.KindReset {
		e.Data = resetData(r.Attempt)
	} else if e.Data == "" {
		e.Data = "{}"
	}
	return e
}

// resetData tells a browser which attempt begins.
func resetData(attempt int) string { return `{"attempt":` + strconv.Itoa(attempt) + `}` }
