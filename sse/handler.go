package sse

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
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

	// Attached, if set, is called when the connection is open. What it returns
	// is called when the connection has ended; nil is nothing.
	Attached func(*Conn) (detached func())

	// Logger gets engine failures; nil means slog.Default().
	Logger *slog.Logger
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
//
// With [Options].Server it returns before the end for connections that are
// taken over; Attached is told of the end.
func ServeStream(w http.ResponseWriter, r *http.Request, s *stream.Stream, opts *StreamOptions) {
	var o StreamOptions
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.admit(w, r); err != nil {
		if o.refused(err); errors.Is(err, errFlush) {
			o.Logger.Error("serve stream", "err", err) // for the programmer to know
		}
		return
	}
	after := engine.Position(LastEventID(r))
	at := o.look(w, r, s, after)
	if at != nil && at.AtEnd() {
		o.count(func(s *Stats) { s.AtEnd.Add(1) })
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c, err := o.begin(w, r)
	if err != nil {
		return
	}
	if o.Attached != nil {
		if detached := o.Attached(c); detached != nil {
			c.onEnd(func(error) { detached() })
		}
	}
	if c.values == nil {
		o.feed(c, s, at, after)
		return
	}
	c.values.release()
	o.Server.work.Go(func() { o.feed(c, s, at, after) })
}

// feed sends the stream until its end or the connection's.
func (o *StreamOptions) feed(c *Conn, s *stream.Stream, at *stream.Reader, after engine.Position) {
	defer c.Close()
	var err error
	if at == nil {
		at, err = s.Attach(c.Context(), after)
	}
	if err == nil {
		err = o.send(c, at)
	}
	if err == nil || c.Context().Err() != nil {
		return
	}
	o.Logger.Warn("serve stream", "stream", s.Name(), "err", err)
	c.goAway(time.Second+rand.N(4*time.Second), errFailed)
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

// send sends records until the end of the stream or of the connection.
func (o *StreamOptions) send(c *Conn, at *stream.Reader) error {
	w := joined{c: c}
	for recs, err := range at.Batches(c.Context()) {
		if err != nil {
			return err
		}
		if o.Merge != nil {
			recs = o.Merge.Merge(recs)
		}
		if err := w.write(recs); err != nil {
			return err
		}
	}
	return nil
}

// joined writes as many records as fit together in one write.
type joined struct {
	c   *Conn
	buf []byte
}

func (w *joined) write(recs []engine.Record) error {
	for _, r := range recs {
		var err error
		if w.buf, err = appendRecord(w.buf, r); err != nil {
			return err
		}
		if r.Kind == engine.KindGap {
			w.c.opts.count(func(s *Stats) { s.Gaps.Add(1) })
		}
		if len(w.buf) < maxWrite {
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return w.flush()
}

func (w *joined) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.c.Write(w.buf); err != nil {
		return err
	}
	if w.buf = w.buf[:0]; cap(w.buf) > maxIdle {
		w.buf = nil
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
