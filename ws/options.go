package ws

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/push"
)

// Options configures a Server. The zero value is ready to use.
type Options struct {
	// Origins are further sites, such as "https://app.example.org", whose pages
	// may connect; "*" is every one. Empty means the host's own only. Clients
	// that are no browsers send no origin: they may connect, but not with
	// cookies.
	Origins []string

	// Subprotocols are those the server speaks, the preferred one first. One
	// that the client offers is chosen where a consumer names none.
	Subprotocols []string

	// MaxMessage bounds what a client sends as one message, in bytes; a larger
	// one closes with 1009. Zero means 64 KiB.
	MaxMessage int

	// Ping is after how long a silent client is pinged. Zero means 25 seconds.
	Ping time.Duration

	// PingTimeout is how long a client has for its answer, before it is
	// dropped. Zero means 10 seconds.
	PingTimeout time.Duration

	// MessageTimeout is how long a client may take to send one message, from
	// its first byte to its last; one that takes longer, by up to Ping, closes
	// with 1008. So a client cannot have the server hold a part of a message
	// for ever. Zero means a minute: give more with a larger MaxMessage.
	MessageTimeout time.Duration

	// Compress offers permessage-deflate to clients that ask for it. Do not
	// use it where a message holds both a secret and what an attacker chose:
	// its length tells about the secret.
	Compress bool

	// CompressMin is from how many bytes on a message is compressed. Zero
	// means 256.
	CompressMin int

	// Queue bounds what waits for one client in bytes; at more it is dropped.
	// Zero means 1 MiB. A message with a Key takes the place of an older one
	// that waits.
	Queue int

	// DropMessages has messages dropped, and counted, instead of the client
	// when Queue bytes wait for it. Keys then do nothing.
	DropMessages bool

	// WriteTimeout is how long a client may take nothing of what waits before
	// it is dropped. Zero means 10 seconds.
	WriteTimeout time.Duration

	// MaxConns bounds the open connections; more are answered with 503. Zero
	// is no bound.
	MaxConns int

	// Detach saves some 400 bytes per connection: the context of consumers has
	// no values of the request's, and the request after Connect none either. In
	// Connect, its request's context has them.
	Detach bool

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

func (o *Options) setDefaults() error {
	for _, n := range []int{o.MaxMessage, o.CompressMin, o.Queue, o.MaxConns, int(o.Ping), int(o.PingTimeout), int(o.MessageTimeout), int(o.WriteTimeout)} {
		if n < 0 {
			return errors.New("limits and times must not be negative")
		}
	}
	for _, origin := range o.Origins {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || u.Host == "" || u.Scheme == "" || strings.Trim(u.Path, "/") != "") {
			return fmt.Errorf("%q is no origin: want a form like https://app.example.org", origin)
		}
	}
	for _, p := range o.Subprotocols {
		if !isToken(p) {
			return fmt.Errorf("%q is no subprotocol: want a token of letters, digits, dots and dashes", p)
		}
	}
	o.MaxMessage = orElse(o.MaxMessage, 64<<10)
	o.CompressMin = orElse(o.CompressMin, 256)
	o.Ping = orElse(o.Ping, 25*time.Second)
	o.PingTimeout = orElse(o.PingTimeout, 10*time.Second)
	o.MessageTimeout = orElse(o.MessageTimeout, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func orElse[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

// Stats counts what happens to connections. The zero value is ready to use.
type Stats struct {
	Open   atomic.Int64  // now
	Opened atomic.Uint64 // since the start

	BadHandshake atomic.Uint64 // requests that were no handshake
	BadOrigin    atomic.Uint64 // refused for their origin
	Busy         atomic.Uint64 // refused because of MaxConns or a drain
	Refused      atomic.Uint64 // refused by the application

	closed [causes]atomic.Uint64
	pool   *push.Pool // nil in the zero value
}

// Dropped is how many messages were dropped for slow clients, see
// [Options].DropMessages.
func (s *Stats) Dropped() uint64 {
	if s.pool == nil {
		return 0
	}
	return s.pool.Stats().Dropped
}

// Conflated is how many messages a newer one of their Key replaced.
func (s *Stats) Conflated() uint64 {
	if s.pool == nil {
		return 0
	}
	return s.pool.Stats().Conflated
}

// Cause says why a connection ended.
type Cause uint8

// Causes.
const (
	ByClient Cause = iota // it sent a close frame
	ByServer              // the application closed it
	Gone                  // the client went without a close frame
	Drained               // for a deploy
	Slow                  // the client did not read
	Silent                // it did not answer a ping in time
	Broken                // 1002: it broke the protocol
	Invalid               // 1007: its text was not UTF-8, or could not be unpacked
	TooBig                // 1009
	Late                  // 1008: it did not end a message in time
	causes                // how many there are
)

// Closed is how many connections ended for a cause.
func (s *Stats) Closed(c Cause) uint64 { return s.closed[c].Load() }

func (c Cause) String() string {
	return [...]string{"client", "server", "gone", "drained", "slow", "silent", "protocol", "invalid", "too_big", "late"}[c]
}

// Causes returns all causes.
func Causes() []Cause {
	all := make([]Cause, causes)
	for i := range all {
		all[i] = Cause(i)
	}
	return all
}

// end is a cause as the reason for which a connection was closed.
type end Cause

func (e end) Error() string { return "ws: connection has ended: " + Cause(e).String() }
