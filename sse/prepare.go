package sse

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	// maxStreams is how many streams one HTTP/2 connection may have: a browser
	// uses one connection for all its tabs.
	maxStreams = 250

	// Of a request before it is whole. A browser's cookies have 4 KiB each.
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10

	// deadAfter is how long a peer may leave what was sent unacknowledged.
	deadAfter = 30 * time.Second
)

// Prepare sets what a server of event streams needs and net/http leaves at
// other values, where the server does not say otherwise itself: HTTP/2 with
// 250 streams per connection and pings that notice a dead peer within 30
// seconds, and on Linux the same for HTTP/1.1 by TCP_USER_TIMEOUT. Without it
// a peer that vanished, its cable pulled, is noticed after a quarter of an
// hour. A client has 10 seconds for a request's head, of 64 KiB at most, and
// two minutes between requests: net/http would wait for ever. Call it before
// the server starts.
func Prepare(srv *http.Server) {
	if srv.ReadHeaderTimeout == 0 && srv.ReadTimeout == 0 {
		srv.ReadHeaderTimeout = headerTimeout
	}
	if srv.IdleTimeout == 0 && srv.ReadTimeout == 0 {
		srv.IdleTimeout = idleTimeout
	}
	if srv.MaxHeaderBytes == 0 {
		srv.MaxHeaderBytes = maxHeaderBytes
	}
	h2 := &http.HTTP2Config{}
	if srv.HTTP2 != nil {
		*h2 = *srv.HTTP2
	}
	if h2.MaxConcurrentStreams == 0 {
		h2.MaxConcurrentStreams = maxStreams
	}
	if h2.SendPingTimeout == 0 {
		h2.SendPingTimeout = deadAfter / 2
	}
	if h2.PingTimeout == 0 {
		h2.PingTimeout = deadAfter / 2
	}
	srv.HTTP2 = h2
	next := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		bury(c)
		if next != nil {
			return next(ctx, c)
		}
		return ctx
	}
}

// bury bounds how long a connection outlives its peer. Where that cannot be
// said to the system, heartbeats find out later.
func bury(c net.Conn) {
	if tls, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = tls.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		setUserTimeout(tcp, deadAfter)
	}
}
