package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// ClientOptions configures Subscribe. The zero value is ready to use.
type ClientOptions struct {
	// Client makes the requests; nil means http.DefaultClient. It must have no
	// Timeout, which would end every stream.
	Client *http.Client

	// LastEventID is where to begin; empty is wherever the server does.
	LastEventID string

	// Retry is how long to wait before a reconnection, until the server says
	// otherwise. Zero means 3 seconds. Failures in a row double it, up to
	// MaxRetry, and it is then made longer by up to a quarter, at random.
	Retry time.Duration

	// MaxRetry bounds the wait, also the server's wish. Zero means 1 minute.
	MaxRetry time.Duration

	// Silence is how long a connection may be without a byte before it is
	// thought dead. Zero means 45 seconds, three heartbeats; negative is no
	// bound.
	Silence time.Duration

	// MaxEvent bounds an event, in bytes; see ReaderOptions.
	MaxEvent int

	// OnRetry, if set, is told why and for how long there is no connection.
	OnRetry func(err error, wait time.Duration)
}

const (
	defaultRetry    = 3 * time.Second
	defaultMaxRetry = time.Minute
	defaultSilence  = 45 * time.Second
	minRetry        = 10 * time.Millisecond // a server that says 0 is not hammered
)

// StatusError is an answer that is no stream and will not become one.
type StatusError struct {
	Status      int
	ContentType string
}

func (e *StatusError) Error() string {
	if e.Status == http.StatusOK {
		return fmt.Sprintf("sse: the answer is %q, not text/event-stream", e.ContentType)
	}
	return fmt.Sprintf("sse: the answer is %d %s", e.Status, http.StatusText(e.Status))
}

var (
	errSilence = errors.New("sse: nothing was heard for too long")
	errEnded   = errors.New("sse: the connection was closed")
)

// Subscribe makes the request and yields its events, and goes on with
// Last-Event-ID when the connection is lost, as a browser's EventSource does.
// It ends without an error when the server answers 204, and otherwise with one:
// ctx's, a [*StatusError], or [ErrTooLarge]. Unlike a browser it takes 429,
// 502, 503 and 504, and the Retry-After with them, as a reason to wait.
//
// A request with a body must have GetBody, as those of http.NewRequest do.
func Subscribe(ctx context.Context, req *http.Request, opts *ClientOptions) iter.Seq2[Event, error] {
	var o ClientOptions
	if opts != nil {
		o = *opts
	}
	o.setDefaults()
	return func(yield func(Event, error) bool) {
		s := subscription{opts: o, req: req, id: o.LastEventID, retry: o.Retry, yield: yield}
		err := s.run(ctx)
		if err != nil && !s.left {
			yield(Event{}, err)
		}
	}
}

func (o *ClientOptions) setDefaults() {
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.Retry <= 0 {
		o.Retry = defaultRetry
	}
	if o.MaxRetry <= 0 {
		o.MaxRetry = defaultMaxRetry
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
}

// subscription is one range over Subscribe.
type subscription struct {
	opts     ClientOptions
	req      *http.Request
	id       string
	retry    time.Duration // between reconnections
	failures int           // in a row
	yield    func(Event, error) bool
	left     bool // the caller wants no more
}

// temporary is a failure after which to try again, not before the given time.
type temporary struct {
	err   error
	after time.Duration
}

func (t *temporary) Error() string { return t.err.Error() }

func (s *subscription) run(ctx context.Context) error {
	for {
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		soon, again := errors.AsType[*temporary](err)
		if !again || s.left {
			return err
		}
		wait := s.wait(soon.after)
		if s.opts.OnRetry != nil {
			s.opts.OnRetry(soon.err, wait)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// wait is how long to wait, and grows with the failures.
func (s *subscription) wait(least time.Duration) time.Duration {
	d := max(s.retry, minRetry)
	for range min(s.failures, 30) {
		d = min(2*d, s.opts.MaxRetry)
	}
	d = min(max(d, least), s.opts.MaxRetry)
	s.failures++
	return d + rand.N(d/4+1)
}

// connect makes one connection and reads it to its end. Nil means that there
// is nothing more.
func (s *subscription) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := s.watch(cancel)
	defer watch.stop()
	req, err := s.request(ctx)
	if err != nil {
		return err
	}
	res, err := s.opts.Client.Do(req)
	if err != nil {
		return &temporary{err: why(ctx, err)}
	}
	defer res.Body.Close()
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // none is as wrong as a bad one
	switch {
	case res.StatusCode == http.StatusNoContent:
		return nil
	case res.StatusCode == http.StatusOK && kind == "text/event-stream":
		return s.read(ctx, watch.reader(res.Body))
	case retryable(res.StatusCode):
		return &temporary{err: &StatusError{Status: res.StatusCode}, after: retryAfter(res.Header)}
	}
	return &StatusError{Status: res.StatusCode, ContentType: res.Header.Get("Content-Type")}
}

func (s *subscription) request(ctx context.Context) (*http.Request, error) {
	req := s.req.Clone(ctx)
	if s.req.Body != nil && s.req.Body != http.NoBody {
		if s.req.GetBody == nil {
			return nil, errors.New("sse: subscribe: the request has a body but no GetBody")
		}
		body, err := s.req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("sse: subscribe: %w", err)
		}
		req.Body = body
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-cache")
	if s.id != "" {
		req.Header.Set("Last-Event-ID", s.id)
	}
	return req, nil
}

func (s *subscription) read(ctx context.Context, body io.Reader) error {
	r := NewReader(body, &ReaderOptions{MaxEvent: s.opts.MaxEvent})
	r.id = s.id
	for {
		e, err := r.Next()
		s.id = r.LastEventID()
		if r.asked {
			s.retry = r.Retry()
		}
		if err == nil {
			s.failures = 0
			if !s.yield(e, nil) {
				s.left = true
				return errEnded
			}
			continue
		}
		switch {
		case errors.Is(err, ErrTooLarge):
			return err
		case err == io.EOF:
			s.failures = 0 // it was ended, not cut
			return &temporary{err: errEnded}
		}
		return &temporary{err: why(ctx, err)}
	}
}

// why prefers our reason for a cut.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// retryable are statuses of a server, or of a proxy before it, that is about
// to come back.
func retryable(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header in its form of seconds.
func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 || s > 1e6 {
		return 0
	}
	return time.Duration(s) * time.Second
}

// watch cuts a connection that is silent.
type watch struct {
	silence time.Duration
	timer   *time.Timer // nil without a bound
}

func (s *subscription) watch(cut context.CancelCauseFunc) watch {
	if s.opts.Silence < 0 {
		return watch{}
	}
	return watch{s.opts.Silence, time.AfterFunc(s.opts.Silence, func() { cut(errSilence) })}
}

func (w watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// reader tells the watch of every byte.
func (w watch) reader(r io.Reader) io.Reader {
	if w.timer == nil {
		return r
	}
	return readFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if n > 0 {
			w.timer.Reset(w.silence)
		}
		return n, err
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
