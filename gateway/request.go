package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// callRequest is the body of a call.
type callRequest struct {
	args    []json.RawMessage
	kwargs  map[string]json.RawMessage
	options map[string]json.RawMessage
}

// readBody reads the body of a call, or says why it is not one.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, g.opts.MaxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body has more than %d bytes: "+
			"store large inputs elsewhere and send a reference", tooLarge.Limit)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, problem{Status: http.StatusRequestTimeout, Detail: fmt.Sprintf("the body was not here within %v: send it at once", bodyTimeout)}
	}
	if err != nil {
		return nil, problem{Status: http.StatusBadRequest, Detail: "the body could not be read to its end: " + err.Error()}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // see ServeHTTP
	if len(body) == 0 {                                            // a call without arguments, as curl -X POST sends it
		return body, nil
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("content encoding %q is not understood: send the body plain", enc)}
	}
	typ, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || typ != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, problem{Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("content type %q is not understood: send application/json in UTF-8", r.Header.Get("Content-Type"))}
	}
	return body, nil
}

// parseCall reads the body of a call. It is strict: what is unknown is an
// error, so that a misspelt option does not pass in silence.
func parseCall(body []byte) (callRequest, error) {
	var c callRequest
	if len(body) == 0 {
		return c, nil
	}
	if at := invalidUTF8(body); at >= 0 {
		return c, problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the body is not UTF-8: byte 0x%02x at %s", body[at], place(body, at))}
	}
	if err := syntax(body); err != nil {
		return c, err
	}
	var parts map[string]json.RawMessage
	if json.Unmarshal(body, &parts) != nil || parts == nil {
		return c, problem{Status: http.StatusBadRequest, Detail: `the body is not a JSON object: want {"args": […], "kwargs": {…}, "options": {…}}`}
	}
	var errs []FieldError
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		raw := parts[name]
		switch name {
		case "args":
			errs = part(errs, name, raw, &c.args, "must be an array")
		case "kwargs":
			errs = part(errs, name, raw, &c.kwargs, "must be an object")
		case "options":
			errs = part(errs, name, raw, &c.options, "must be an object")
		default:
			errs = append(errs, FieldError{name, "is not known: want args, kwargs or options"})
		}
	}
	if errs != nil {
		return c, fields(http.StatusUnprocessableEntity, errs...)
	}
	return c, nil
}

func part(errs []FieldError, name string, raw json.RawMessage, dst any, want string) []FieldError {
	if json.Unmarshal(raw, dst) != nil {
		return append(errs, FieldError{name, want})
	}
	return errs
}

// syntax says where the body is not JSON.
func syntax(body []byte) error {
	var any json.RawMessage
	err := json.Unmarshal(body, &any)
	if err == nil {
		return nil
	}
	at := len(body)
	var bad *json.SyntaxError
	if errors.As(err, &bad) {
		at = max(int(bad.Offset)-1, 0)
	}
	return problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the body is not JSON: %s at %s", err, place(body, at))}
}

// place names an offset for people, both counted from 1, columns in bytes.
func place(body []byte, at int) string {
	before := body[:min(at, len(body))]
	line := 1 + bytes.Count(before, []byte("\n"))
	return fmt.Sprintf("line %d column %d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}
