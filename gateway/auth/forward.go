package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// maxPassed bounds the bytes of the headers passed on.
const maxPassed = 32 << 10

// ForwardOptions says whom to ask. Only the URL must be set.
type ForwardOptions struct {
	// URL is asked with GET. The endpoint answers 2xx to let the caller pass,
	// 401 or 403 to refuse; all else, redirects included, is a failure.
	URL string

	// Headers of the request are passed on; a request with none of them has no
	// credentials. Nil means Cookie and Authorization.
	Headers []string

	// Timeout is how long an answer may take. Zero means 5 seconds.
	Timeout time.Duration

	// CacheFor is how long an answer counts for all requests with the same
	// Headers, whatever their URI, method and address: an endpoint that
	// decides by those needs CacheFor zero, or answers Cache-Control:
	// no-store. Cache-Control: max-age shortens it, and a refusal counts for
	// at most a second. Zero asks for every request.
	CacheFor time.Duration

	// MaxEntries is how many grants are kept, and how many refusals. Those
	// unused for longest leave first. Zero means 10000.
	MaxEntries int

	// Default is the grant of an answer without X-Rhubarb-Grant. Its User is
	// that of an answer without X-Rhubarb-User, its Expires that of all.
	Default Grant

	// Transport asks. Nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// Forward asks an HTTP endpoint about each request. See [NewForward].
type Forward struct {
	opts    ForwardOptions
	client  *http.Client
	flight  singleflight.Group
	granted *cache
	refused *cache // apart, for made-up credentials must not push grants out
}

// NewForward returns an authenticator that asks an endpoint as the directive
// auth_request of nginx does. The endpoint gets [ForwardOptions.Headers] and
// X-Original-URI, X-Original-Method and X-Forwarded-For, to which the address
// of the caller is appended. Its answer may name the user in X-Rhubarb-User, at
// most 256 bytes, and the permissions in X-Rhubarb-Grant, at most 8 KiB of what
// [Grant.Claim] writes. Equal questions at the same time are asked once.
func NewForward(o ForwardOptions) (*Forward, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("auth: the URL to ask must be http://… or https://… with a host")
	}
	if o.Timeout < 0 || o.CacheFor < 0 || o.MaxEntries < 0 {
		return nil, errors.New("auth: Timeout, CacheFor and MaxEntries of a Forward cannot be negative")
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 10000
	}
	if o.Headers == nil {
		o.Headers = []string{"Cookie", "Authorization"}
	}
	if o.Headers, err = headerNames(o.Headers); err != nil {
		return nil, err
	}
	return &Forward{
		opts:    o,
		client:  oneHop(o.Transport),
		granted: newCache(o.MaxEntries),
		refused: newCache(o.MaxEntries),
	}, nil
}

// ownHeaders are set by the question or by HTTP itself: RFC 9110, 7.6.1.
var ownHeaders = []string{
	"X-Original-Uri", "X-Original-Method", "X-Forwarded-For", "Host", "Content-Length", "Transfer-Encoding",
	"Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Accept-Encoding", "Proxy-Connection",
}

// headerNames returns the names as http.Header has them, sorted.
func headerNames(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, errors.New("auth: a Forward without Headers has no credentials to pass on: name some, or leave it nil")
	}
	var all []string
	for _, name := range names {
		name = http.CanonicalHeaderKey(name)
		if name == "" || strings.ContainsFunc(name, notToken) {
			return nil, fmt.Errorf("auth: %q is not the name of a header", name)
		}
		if slices.Contains(ownHeaders, name) {
			return nil, fmt.Errorf("auth: the header %s cannot be passed on: it has its own value in a question", name)
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// notToken reports what RFC 9110, 5.6.2 does not allow in a name.
func notToken(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// Authenticate returns the endpoint's answer, or one it gave before.
func (f *Forward) Authenticate(r *http.Request) (*Grant, error) {
	question, err := f.pass(r)
	if err != nil {
		return nil, err
	}
	caller := digest(question, f.opts.Headers)
	for _, c := range []*cache{f.granted, f.refused} {
		if a, ok := c.get(caller); ok {
			return a.result()
		}
	}
	question.Set("X-Original-URI", originalURI(r))
	question.Set("X-Original-Method", r.Method)
	if by := forwardedFor(r); by != "" {
		question.Set("X-Forwarded-For", by)
	}
	whole := digest(question, append([]string{"X-Original-Uri", "X-Original-Method", "X-Forwarded-For"}, f.opts.Headers...))
	answered := f.flight.DoChan(string(whole[:]), func() (any, error) { return f.ask(r.Context(), caller, question), nil })
	select {
	case a := <-answered:
		return a.Val.(answer).result()
	case <-r.Context().Done():
		return nil, unavailable("the request ended before it was known whether it may pass", context.Cause(r.Context()))
	}
}

// pass returns the headers to pass on.
func (f *Forward) pass(r *http.Request) (http.Header, error) {
	h, size := make(http.Header), 0
	for _, name := range f.opts.Headers {
		for _, value := range r.Header[name] {
			size += len(value)
			h.Add(name, value)
		}
	}
	if len(h) == 0 {
		return nil, ErrNone
	}
	if size > maxPassed {
		return nil, refuse("the credentials have more than 32 KiB: send less, such as fewer cookies")
	}
	return h, nil
}

// digest stands for some headers without giving them away.
func digest(h http.Header, names []string) [sha256.Size]byte {
	// Lengths come first, so that no two different sets are written alike.
	var text []byte
	for _, name := range names {
		text = binary.AppendUvarint(text, uint64(len(h[name])))
		for _, value := range h[name] {
			text = binary.AppendUvarint(text, uint64(len(value)))
			text = append(text, value...)
		}
	}
	return sha256.Sum256(text)
}

// originalURI is what the client asked for, before any prefix was stripped.
func originalURI(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// forwardedFor appends the caller's address, as nginx's
// $proxy_add_x_forwarded_for: only the last entry is certain.
func forwardedFor(r *http.Request) string {
	list := r.Header.Values("X-Forwarded-For")
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		list = append(slices.Clone(list), host)
	}
	return strings.Join(list, ", ")
}

// ask puts the question and keeps the answer. Others may wait for it too: the
// end of one request must not end it, Timeout does.
func (f *Forward) ask(ctx context.Context, caller [sha256.Size]byte, question http.Header) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.opts.Timeout)
	defer cancel()
	start := time.Now()
	res, err := f.get(ctx, question)
	if err != nil {
		return failure(err)
	}
	a := readAnswer(res, f.opts.Default)
	f.keep(caller, a, start, freshness(res.Header, f.opts.CacheFor))
	return a
}

// get returns an answer without its body, which says nothing here.
func (f *Forward) get(ctx context.Context, question http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.opts.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header = question
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	// A short body that was read leaves the connection for the next question.
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	return res, nil
}

// keep remembers an answer from when the question was put: later changes are
// not in it.
func (f *Forward) keep(caller [sha256.Size]byte, a answer, start time.Time, fresh time.Duration) {
	switch {
	case a.grant != nil:
		f.granted.put(caller, a, start.Add(fresh))
	case a.err.Status != http.StatusServiceUnavailable:
		f.refused.put(caller, a, start.Add(min(fresh, time.Second)))
	}
}
