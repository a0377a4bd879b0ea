package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// comeBack is after how long an EventSource that could not be served should try
// again; up to twice that, so that not all come at once.
const comeBack = time.Second

// joinWait bounds what a newcomer waits for the engine before there is a
// connection.
const joinWait = 2 * time.Second

// later answers an EventSource for which there is a problem that passes, and
// reports whether it did. HTML 9.2.3: at any status but 200 it stays away for
// good, so it gets a stream that ends at once and says when to come back.
// Others learn more from the problem.
func (g *Gateway) later(w http.ResponseWriter, r *http.Request, p problem) bool {
	passes := p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError
	if !passes || !strings.HasSuffix(r.Pattern, "/events") || !slices.Contains(r.Header.Values("Accept"), "text/event-stream") {
		return false
	}
	g.streams.Stats().Busy.Add(1)
	opts := g.streamOptions(r)
	sse.Busy(w, r, comeBack, &opts)
	return true
}
