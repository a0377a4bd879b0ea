package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// problem is an error as a client gets it. RFC 9457.
type problem struct {
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors,omitempty"`

	after int // seconds after which to try again; zero says nothing
}

func (p problem) Error() string { return p.Detail }

// fields makes the problem of a request whose parts are wrong.
func fields(status int, errs ...FieldError) problem {
	return problem{Status: status, Detail: join(errs), Errors: errs}
}

func (p problem) write(w http.ResponseWriter) {
	if p.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.after))
	}
	p.Title = http.StatusText(p.Status)
	p.Detail = strings.ToValidUTF8(p.Detail, "\uFFFD")
	writeJSON(w, "application/problem+json", p.Status, p)
}

// writeJSON answers with a document that caches must not keep.
func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil { // a stored record that is not JSON
		status, contentType = http.StatusInternalServerError, "application/problem+json"
		raw = []byte(`{"title":"Internal Server Error","status":500,"detail":"the stored record cannot be written as JSON"}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n')) // a client that left needs no answer
}
