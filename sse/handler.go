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

	// Merge joins data records for clients that are behind; nil leaves each
	// as it is. It is shared by the connections that count in it.
	Merge *stream.Merger

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
	AtEnd   atomic.Uint64 // answered with 204
	Refused atomic.Uint64 // not allowed
	Busy    atomic.Uint64 // told to come back, for want of place

	// Connections that were closed by cause.
	Ended   atomic.Uint64 // the stream has ended
	Left    atomic.Uint64 // the client went
	Slow    atomic.Uint64 // the client did not read
	Failed  atomic.Uint64 // the engine failed
	Drained atomic.Uint64 // the server goes away
	Expired atomic.Uint64 // MaxAge or Until
}

// GapHeader tells clients that read headers that records after their position
// are gone.
const GapHeader = "Rhubarb-Gap"

const (
	// maxWrite bounds what is joined into one write, in bytes, beyond which
	// there is one record at most.
	maxWrite = 64 << 10

	// maxIdle bounds the buffer that a connection keeps while it waits.
	maxIdle = 4 << 10

	// lookTime bounds the look at the client's position. Headers wait for it,
	// since they say that there is nothing more (204).
	lookTime = 500 * time.Millisecond
)

// ServeStream serves a stream as events, from where the client was, see
// [LastEventID]. A data record is an event without a type; progress, state,
// reset, gap and end are the types of the others. Every event has the record's
// position as its id. After end the connection is closed; a client that is at
// the end already gets 204, which tells an EventSource not to come back.
//
// What a slow client has not taken stays in the store, so that what is kept
// for it in memory is one batch of the engine's and one write. Merge lets it
// catch up; a client that takes nothing for the write timeout is closed.
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
	if err := o.admit(w, r); err != nil {
		o.refused(err)
		return
	}
	after := engine.Position(LastEventID(r))
	at := o.look(w, r, s, after)
	if at != nil && at.AtEnd() {
		o.Stats.AtEnd.Add(1)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c, err := open(w, r, o.Options)
	if err != nil {
		o.refused(err)
		return
	}
	defer c.Close()
	o.Stats.Opened.Add(1)
	o.Stats.Open.Add(1)
	defer o.Stats.Open.Add(-1)
	if at == nil {
		at, err = s.Attach(c.Context(), after)
	}
	if err == nil {
		err = o.serve(c, at)
	}
	if err == nil || c.Context().Err() != nil {
		o.closed(c.cause())
		return
	}
	o.Stats.Failed.Add(1)
	o.Logger.Warn("serve stream", "stream", s.Name(), "err", err)
	c.goAway(time.Second+rand.N(4*time.Second), ErrClosed)
}

// refused counts a request that got no stream. That middleware cannot be
// flushed is for the programmer to know.
func (o *StreamOptions) refused(err error) {
	switch {
	case errors.Is(err, ErrBusy):
		o.Stats.Busy.Add(1)
	case errors.Is(err, errRefused):
		o.Stats.Refused.Add(1)
	}
	if errors.Is(err, errFlush) {
		o.Logger.Error("serve stream", "err", err)
	}
}

// closed counts a connection by why it was closed.
func (o *StreamOptions) closed(cause error) {
	n := &o.Stats.Left
	switch {
	case cause == nil:
		n = &o.Stats.Ended
	case errors.Is(cause, ErrSlow):
		n = &o.Stats.Slow
	case errors.Is(cause, errDrained):
		n = &o.Stats.Drained
	case errors.Is(cause, errExpired):
		n = &o.Stats.Expired
	}
	n.Add(1)
}

// look looks up the client's position, and says in a header if it is lost. Nil
// means that the engine did not answer soon: the client is let in, and told
// later what there is to tell.
func (o *StreamOptions) look(w http.ResponseWriter, r *http.Request, s *stream.Stream, after engine.Position) *stream.Reader {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	at, err := s.Attach(ctx, after) // which reads nothing for the start
	if err != nil {
		return nil
	}
	if _, lost := at.Lost(); lost {
		w.Header().Set(GapHeader, stream.Position)
	}
	return at
}

// serve sends records until the end of the stream or of the connection.
func (o *StreamOptions) serve(c *Conn, at *stream.Reader) error {
	f := feed{c: c, stats: o.Stats}
	for recs, err := range at.Batches(c.Context()) {
		if err != nil {
			return err
		}
		if o.Merge != nil {
			recs = o.Merge.Merge(recs)
		}
		if err := f.send(recs); err != nil {
			return err
		}
	}
	return nil
}

// feed is what a connection keeps of the stream.
type feed struct {
	c     *Conn
	stats *Stats
	buf   []byte
	count uint64 // of events in buf
}

// send writes records, as many as fit together in one write.
func (f *feed) send(recs []engine.Record) error {
	for _, r := range recs {
		var err error
		if f.buf, err = appendRecord(f.buf, r); err != nil {
			return err
		}
		f.count++
		if r.Kind == engine.KindGap {
			f.stats.Gaps.Add(1)
		}
		if len(f.buf) < maxWrite {
			continue
		}
		if err := f.flush(); err != nil {
			return err
		}
	}
	return f.flush()
}

func (f *feed) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	if _, err := f.c.Write(f.buf); err != nil {
		return err
	}
	f.stats.Events.Add(f.count)
	f.stats.Bytes.Add(uint64(len(f.buf)))
	if f.count, f.buf = 0, f.buf[:0]; cap(f.buf) > maxIdle {
		f.buf = nil
	}
	return nil
}

// EventOf is a record as an event, as ServeStream sends it. One of another
// kind than data has always data, {} for none, so that scripts can parse it.
// A data record with an empty payload has the type message: browsers drop an
// event without data and type.
func EventOf(r engine.Record) Event {
	typ, data := shape(r)
	return Event{ID: string(r.Pos), Type: typ, Data: string(data)}
}

// appendRecord is AppendEvent of EventOf, without copies.
func appendRecord(dst []byte, r engine.Record) ([]byte, error) {
	typ, data := shape(r)
	dst, err := appendFields(dst, string(r.Pos), typ)
	if err != nil {
		return dst, err
	}
	return append(appendData(dst, data), '\n'), nil
}

func shape(r engine.Record) (typ string, data []byte) {
	switch {
	case r.Kind == engine.KindReset:
		return string(r.Kind), resetData(r.Attempt)
	case r.Kind != engine.KindData && len(r.Payload) == 0:
		return string(r.Kind), []byte("{}")
	case r.Kind != engine.KindData:
		return string(r.Kind), r.Payload
	case len(r.Payload) == 0:
		return "message", nil
	}
	return "", r.Payload
}

// resetData tells a browser which attempt begins.
func resetData(attempt int) []byte {
	return append(strconv.AppendInt([]byte(`{"attempt":`), int64(attempt), 10), '}')
}
