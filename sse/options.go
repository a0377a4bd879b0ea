package sse

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Options configures a connection. The zero value is ready to use.
type Options struct {
	// Heartbeat is how long a connection may be silent before a comment is
	// sent. Zero means 15 seconds, the standard's advice, which is also the
	// most.
	Heartbeat time.Duration

	// WriteTimeout bounds one write; a client that takes none of it for that
	// long is closed with ErrSlow. Zero means 10 seconds.
	WriteTimeout time.Duration

	// Private is for streams no cache may keep: Cache-Control is no-store.
	Private bool

	// Origins says which other sites' pages may read; see [Origins].
	Origins Origins

	// Authorize is asked at every attach, and so at every reconnection, before
	// anything is sent. [ErrBusy] has the client come back later; any other
	// error is answered with 403, which tells a browser to give up. Nil lets
	// everyone in.
	Authorize func(*http.Request) error

	// MaxAge closes connections after that time, give or take a fifth, so that
	// they spread over servers anew. Zero is never.
	MaxAge time.Duration

	// Until closes the connection then, for permissions that end. Zero is
	// never.
	Until time.Time

	// Server, if set, bounds the number of connections, counts them and closes
	// them when it is told to. GET requests over HTTP/1.1 are taken over from
	// net/http, which saves most of what an idle connection costs, unless a
	// middleware wraps the http.ResponseWriter.
	Server *Server
}

const (
	defaultHeartbeat    = 15 * time.Second
	defaultWriteTimeout = 10 * time.Second
)

func (o *Options) setDefaults() {
	if o.Heartbeat <= 0 || o.Heartbeat > defaultHeartbeat {
		o.Heartbeat = defaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
}

// life is how long the connection may last.
func (o *Options) life() (d time.Duration, bound bool) {
	if o.MaxAge > 0 {
		d, bound = o.MaxAge-o.MaxAge/5+rand.N(o.MaxAge/5*2+1), true
	}
	if !o.Until.IsZero() {
		if left := max(time.Until(o.Until), 0); !bound || left < d {
			d, bound = left, true
		}
	}
	return d, bound
}

// count counts where there is a server.
func (o *Options) count(add func(*Stats)) {
	if o.Server != nil {
		add(&o.Server.stats)
	}
}

// closed counts a connection by why it was closed.
func (o *Options) closed(cause error) {
	o.count(func(s *Stats) {
		s.Open.Add(-1)
		switch {
		case errors.Is(cause, ErrSlow):
			s.Slow.Add(1)
		case errors.Is(cause, errDrained):
			s.Drained.Add(1)
		case errors.Is(cause, errExpired):
			s.Expired.Add(1)
		case errors.Is(cause, errFailed):
			s.Failed.Add(1)
		case errors.Is(cause, errLeft):
			s.Left.Add(1)
		default:
			s.Ended.Add(1)
		}
	})
}

// refused counts a request that got no stream.
func (o *Options) refused(err error) {
	o.count(func(s *Stats) {
		switch {
		case errors.Is(err, ErrBusy):
			s.Busy.Add(1)
		case errors.Is(err, errRefused):
			s.Refused.Add(1)
		}
	})
}
