package gateway

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/rhubarb-go/rhubarb/sse"
)

// Prepare sets what a server of the gateway needs and does not say itself, as
// [sse.Prepare] does: bounds on the heads of requests, and an eye on peers that
// vanished. Connections on which no request ever came whole are then counted.
// Call it before the server starts.
func (g *Gateway) Prepare(srv *http.Server) {
	sse.Prepare(srv)
	var open sync.Map // of net.Conn: *visit
	within, state := srv.ConnContext, srv.ConnState
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		v := new(visit)
		open.Store(c, v)
		return context.WithValue(within(ctx, c), visitKey{}, v)
	}
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			if v, ok := open.LoadAndDelete(c); ok && !v.(*visit).asked.Load() {
				g.metrics.idle.Inc()
			}
		}
		if state != nil {
			state(c, s)
		}
	}
}

// visit is a connection to a server that Prepare has seen.
type visit struct{ asked atomic.Bool }

type visitKey struct{}

// visited notes that a request came.
func visited(r *http.Request) {
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		v.asked.Store(true)
	}
}
