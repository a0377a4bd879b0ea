package gateway

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bodyTimeout is how long the body of a request may take to arrive.
const bodyTimeout = 30 * time.Second

// guard lets pass what may, and counts it.
func (g *Gateway) guard(rt route) http.Handler {
	allow := append(slices.Sorted(maps.Keys(rt.by)), http.MethodOptions)
	slices.Sort(allow)
	methods := strings.Join(allow, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count := &counter{ResponseWriter: w, status: http.StatusOK}
		start := time.Now()
		defer func() { g.metrics.request(rt.path, count.status, time.Since(start), rt.raw) }()
		if !rt.raw || r.Method == http.MethodOptions { // streams do this themselves
			g.share(count, r, methods)
		}
		if r.Method == http.MethodOptions {
			count.Header().Set("Allow", methods)
			count.WriteHeader(http.StatusNoContent)
			return
		}
		p, ok := g.refuse(rt, r)
		if !ok {
			known, err := g.identify(rt, r)
			if ok = errors.As(err, &p); !ok {
				r = known
			}
		}
		if ok && g.later(count, r, p) {
			return
		}
		if ok {
			if rt.raw { // so that the page sees why
				g.share(count, r, methods)
			}
			if p.Status == http.StatusMethodNotAllowed {
				count.Header().Set("Allow", methods)
			}
			if p.Status == http.StatusUnauthorized {
				count.Header().Set("WWW-Authenticate", `Bearer realm="rhubarb"`)
			}
			p.write(count)
			return
		}
		if hijacker, ok := w.(http.Hijacker); rt.raw && ok {
			rt.by[r.Method](&takeable{count, hijacker, rt.taken()}, r)
			return
		}
		rt.by[r.Method](count, r)
	})
}

// refuse says why a request may not pass, if so.
func (g *Gateway) refuse(rt route, r *http.Request) (problem, bool) {
	if rt.by[r.Method] == nil {
		return problem{Status: http.StatusMethodNotAllowed, Detail: r.Method + " does nothing at " + r.URL.Path}, true
	}
	if !rt.open && !g.named(r.Host) {
		return problem{Status: http.StatusMisdirectedRequest, Detail: "this server is not asked as " + r.Host + ": " +
			"add the name to the gateway's Hosts if it should be"}, true
	}
	if rt.raw && r.ContentLength != 0 {
		// Its connection is taken over, and what a proxy takes for a body would
		// be what the client says on it.
		return problem{Status: http.StatusBadRequest, Detail: "a stream is asked for without a body"}, true
	}
	if err := g.cross.Check(r); err != nil {
		return problem{Status: http.StatusForbidden, Detail: "the request comes from a page of another site: " +
			"add its origin to the gateway's Origins if it may call"}, true
	}
	return problem{}, false
}

// named reports whether the gateway may be asked under the host.
func (g *Gateway) named(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	return len(g.opts.Hosts) == 0 || slices.ContainsFunc(g.opts.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func (g *Gateway) authorized(rt route, r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
		if rt.raw { // RFC 6750, 2.3: for clients that cannot send the header
			token = r.URL.Query().Get("access_token")
		}
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// share tells a browser whether a page of another site may read the answer.
func (g *Gateway) share(w http.ResponseWriter, r *http.Request, methods string) {
	if len(g.opts.Origins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(g.opts.Origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Location, Idempotency-Replayed, Retry-After")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
	}
}

// counter notes the status for the metrics.
type counter struct {
	http.ResponseWriter
	status int
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

// takeable is a counter of a connection that a handler may take over, to answer
// by itself with the status taken.
type takeable struct {
	*counter
	hijacker http.Hijacker
	taken    int
}

// Hijack implements http.Hijacker.
func (t *takeable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := t.hijacker.Hijack()
	if err == nil {
		t.status = t.taken
	}
	return nc, rw, err
}

// Unwrap lets an http.ResponseController through.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
