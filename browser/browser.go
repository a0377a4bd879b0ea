package browser

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the client
	"encoding/base64"
	"net/http"
	"time"
)

//go:embed dist/rhubarb.js
var script []byte

// etag changes with the client, so that a browser asks each time and gets it
// once.
var etag = func() string {
	sum := sha256.Sum256(script)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}()

// Script returns rhubarb.js, an ES module. It must not be changed.
func Script() []byte { return script }

// Handler answers with rhubarb.js at whatever path it is mounted, GET and HEAD
// alone. Whether pages of other sites may import it is for the caller to say,
// in the header Access-Control-Allow-Origin.
func Handler() http.Handler { return http.HandlerFunc(serve) }

func serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "browser: this is read alone", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(script))
}
