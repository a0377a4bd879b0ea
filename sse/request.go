package sse

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

// errRefused is in the errors for requests that may not have a stream, unlike
// those that want none.
var errRefused = errors.New("request was refused")

var errFlush = errors.New("sse: the response cannot be flushed: every middleware's ResponseWriter must have Unwrap")

// methods of a stream. EventSource knows GET only; POST is for those who fetch.
const methods = "GET, HEAD, OPTIONS, POST"

// bodyTimeout is how long a body may take to arrive. net/http reads it before it
// answers, and would wait for ever.
const bodyTimeout = 10 * time.Second

// limitBody sets the deadline for what is left of a request's body, if it has
// one. A server without deadlines has no socket to wait for.
func limitBody(w http.ResponseWriter, r *http.Request, by time.Time) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(by)
	}
}

// late reads what is left of a body, as net/http would before the first byte of
// the answer, and reports whether it does not come.
func late(r *http.Request) bool {
	if r.ContentLength == 0 || r.ProtoMajor != 1 || r.Body == nil {
		return false
	}
	_, err := io.CopyN(io.Discard, r.Body, maxChatter)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// admit answers what gets no stream, with an error that needs no answer.
func (o *Options) admit(w http.ResponseWriter, r *http.Request) error {
	limitBody(w, r, time.Now().Add(bodyTimeout))
	refuse := func(status int, text string) error {
		http.Error(w, "sse: "+text, status)
		return fmt.Errorf("sse: %s: %w", text, errRefused)
	}
	if !o.Origins.allow(w, r) {
		return refuse(http.StatusForbidden, "this origin may not read the stream: allow it in Origins")
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodHead:
	case http.MethodOptions:
		o.Origins.preflight(w)
		return errors.New("sse: OPTIONS was answered")
	default:
		w.Header().Set("Allow", methods)
		return refuse(http.StatusMethodNotAllowed, "this method is not allowed, only "+methods)
	}
	if !accepts(r) {
		return refuse(http.StatusNotAcceptable, "this is text/event-stream, which the request does not accept")
	}
	if o.Authorize != nil {
		if err := o.Authorize(r); errors.Is(err, ErrBusy) {
			o.busy(w, r, busyRetry)
			return err
		} else if err != nil {
			http.Error(w, "sse: not allowed", http.StatusForbidden)
			return fmt.Errorf("sse: authorize: %w, %w", errRefused, err)
		}
	}
	if late(r) {
		return refuse(http.StatusRequestTimeout, "the body of the request did not come")
	}
	if r.Method == http.MethodHead {
		o.headers(w, r)
		return errors.New("sse: HEAD was answered")
	}
	if !flushable(w) {
		http.Error(w, errFlush.Error(), http.StatusInternalServerError)
		return errFlush
	}
	return nil
}

// headers sets those of a stream.
func (o *Options) headers(w http.ResponseWriter, r *http.Request) {
	o.setHeaders(w.Header())
	if r.ProtoMajor == 1 { // RFC 9113, 8.2.2: forbidden in HTTP/2
		w.Header().Set("Connection", "keep-alive")
	}
}

func (o *Options) setHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	if o.Private {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Length")
}

// flushable looks through middleware for a writer that can be flushed, as
// http.ResponseController does, before anything is written.
func flushable(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case interface{ FlushError() error }, http.Flusher:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

// accepts reports whether the client takes an event stream.
func accepts(r *http.Request) bool {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, _, err := mime.ParseMediaType(part)
		if err == nil && (kind == "text/event-stream" || kind == "text/*" || kind == "*/*") {
			return true
		}
	}
	return false
}

// LastEventID is where the client wants to go on: the header that a browser
// sends when it reconnects, else one of the query parameters last_event_id,
// lastEventId, Last-Event-ID and offset. The header wins, since after a
// reconnection it is newer than the URL.
func LastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	q := r.URL.Query()
	for _, k := range []string{"last_event_id", "lastEventId", "Last-Event-ID", "offset"} {
		if id := q.Get(k); id != "" {
			return id
		}
	}
	return ""
}

// ErrBusy: there is no place now; the client was told to come back.
var ErrBusy = errors.New("sse: too many connections")

// busyRetry is when a client should come back for which there was no place;
// up to twice that, so that not all come at once.
const busyRetry = 5 * time.Second

// Busy answers a client that cannot be served now: come back after retry, or
// up to twice that. An EventSource gives up for good at a status of 503, so
// this is a stream that ends at once. Of opts, which may be nil, Origins and
// Private count.
func Busy(w http.ResponseWriter, r *http.Request, retry time.Duration, opts *Options) {
	var o Options
	if opts != nil {
		o = Options{Origins: opts.Origins, Private: opts.Private}
	}
	if o.admit(w, r) == nil {
		o.busy(w, r, retry)
	}
}

func (o *Options) busy(w http.ResponseWriter, r *http.Request, retry time.Duration) {
	o.headers(w, r)
	w.WriteHeader(http.StatusOK)
	b, err := AppendEvent(nil, Event{Retry: retry + rand.N(max(retry, 0)+1)})
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		// Without this net/http would say how long the body is.
		err = http.NewResponseController(w).Flush()
	}
	_ = err // a client that has gone needs no answer
}
