package sse

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins says which other sites' pages may read. The zero value is the host's
// own pages only, and clients that are no browsers.
type Origins struct {
	// Allow lists origins such as "https://example.org"; "*" is every one, but
	// then without credentials.
	Allow []string

	// Credentials lets pages of the allowed origins send cookies along.
	Credentials bool
}

// exposed are our response headers that scripts of other origins may read.
const exposed = "Rhubarb-Gap, Location"

// allow checks the request's origin and writes the CORS headers.
func (o Origins) allow(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	w.Header().Add("Vary", "Origin")
	if origin == "" {
		// A browser says where a request comes from even without an origin.
		// Its user, or one of our pages, may; what another site's page embeds
		// would come with our cookies.
		site := r.Header.Get("Sec-Fetch-Site")
		return site == "" || site == "same-origin" || site == "none" || slices.Contains(o.Allow, "*")
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return true
	}
	h := w.Header()
	switch {
	case slices.ContainsFunc(o.Allow, func(a string) bool { return a != "*" && strings.EqualFold(a, origin) }):
		h.Set("Access-Control-Allow-Origin", origin)
		if o.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	case slices.Contains(o.Allow, "*"):
		h.Set("Access-Control-Allow-Origin", "*") // the browser refuses it with credentials
	default:
		return false
	}
	h.Set("Access-Control-Expose-Headers", exposed)
	return true
}

// preflight answers OPTIONS.
func (o Origins) preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Allow", methods)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Last-Event-ID, Authorization, Cache-Control, Content-Type")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
