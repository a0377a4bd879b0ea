package ws

import (
	"crypto/sha1" // RFC 6455, 4.2.2 wants it
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/internal/push"
)

// guid is RFC 6455, 1.3.
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Handshake is a request that may become a connection. It ends with Accept or
// Refuse, before the handler returns.
type Handshake struct {
	srv     *Server
	w       http.ResponseWriter
	r       *http.Request
	offered []string // subprotocols
	deal    agreement
	over    bool // it was answered
}

// errRefused says that a handshake was answered.
var errRefused = errors.New("ws: the handshake was refused")

// Accept makes a connection of a request. One that gets none is answered, and
// the error says why; the handler just returns. The caller reads until there
// is an error, which closes the connection.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	h, err := s.Check(w, r)
	if err != nil {
		return nil, err
	}
	return h.Accept("")
}

// Check is the first half of [Server.Accept], for what is to be decided before
// the connection is accepted.
func (s *Server) Check(w http.ResponseWriter, r *http.Request) (*Handshake, error) {
	if err := checkRequest(w, r); err != nil {
		s.stats.BadHandshake.Add(1)
		return nil, err
	}
	if why := s.originProblem(r); why != "" {
		s.stats.BadOrigin.Add(1)
		return nil, refuse(w, http.StatusForbidden, why)
	}
	if s.full() {
		return nil, s.refuseBusy(w)
	}
	h := &Handshake{srv: s, w: w, r: r, offered: tokens(r.Header["Sec-Websocket-Protocol"])}
	if s.opts.Compress {
		h.deal = agree(r.Header["Sec-Websocket-Extensions"])
	}
	return h, nil
}

func (s *Server) refuseBusy(w http.ResponseWriter) error {
	s.stats.Busy.Add(1)
	w.Header().Set("Retry-After", "5")
	return refuse(w, http.StatusServiceUnavailable, "too many connections, or the server is going away: try again later")
}

// checkRequest is RFC 6455, 4.2.1.
func checkRequest(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	if r.ContentLength != 0 {
		giveUp(w, r)
	}
	switch {
	case r.Method != http.MethodGet:
		header.Set("Allow", http.MethodGet)
		return refuse(w, http.StatusMethodNotAllowed, "a WebSocket begins with GET")
	case !slices.ContainsFunc(tokens(r.Header["Upgrade"]), func(t string) bool { return strings.EqualFold(t, "websocket") }):
		if r.ProtoMajor == 1 {
			header.Set("Connection", "Upgrade")
			header.Set("Upgrade", "websocket")
		}
		return refuse(w, http.StatusUpgradeRequired, "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket over HTTP/1.1")
	case r.ContentLength != 0:
		// What a proxy takes for a body would be taken for frames here.
		return refuse(w, http.StatusBadRequest, "a WebSocket begins with a request without a body")
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return refuse(w, http.StatusHTTPVersionNotSupported, "a WebSocket needs HTTP/1.1")
	case !slices.ContainsFunc(tokens(r.Header["Connection"]), func(t string) bool { return strings.EqualFold(t, "upgrade") }):
		return refuse(w, http.StatusBadRequest, "the header Connection has no upgrade: a proxy on the way may have removed it")
	case len(r.Header["Sec-Websocket-Version"]) != 1 || r.Header.Get("Sec-Websocket-Version") != "13":
		header.Set("Sec-WebSocket-Version", "13") // RFC 6455, 4.4
		return refuse(w, http.StatusUpgradeRequired, "the version of WebSocket spoken here is 13")
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 || len(r.Header["Sec-Websocket-Key"]) != 1 {
		return refuse(w, http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// giveUp has the answer sent at once and the body, which net/http would wait
// for without a bound, not read.
func giveUp(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // who has none has no socket to wait for
}

func refuse(w http.ResponseWriter, status int, why string) error {
	if why == "" {
		why = http.StatusText(status)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, status)
	return fmt.Errorf("%w with %d: %s", errRefused, status, why)
}

// originProblem is empty if the request's page may connect. RFC 6455, 10.2.
func (s *Server) originProblem(r *http.Request) string {
	origin := r.Header.Get("Origin")
	if slices.Contains(s.opts.Origins, "*") {
		return ""
	}
	if origin == "" {
		if r.Header.Get("Cookie") != "" {
			return "cookies without an Origin are refused: send the Origin of a page that may connect"
		}
		return ""
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return ""
	}
	if slices.ContainsFunc(s.opts.Origins, func(o string) bool { return strings.EqualFold(strings.TrimSuffix(o, "/"), origin) }) {
		return ""
	}
	return fmt.Sprintf("pages of %.200q may not connect to %.200q: add the origin to Origins if they may, "+
		"or have the proxy pass the header Host on", origin, r.Host)
}

// Refuse answers with an HTTP status, unless there was an answer. An empty
// reason is the status's text.
func (h *Handshake) Refuse(status int, reason string) {
	if h.over {
		return
	}
	h.over = true
	h.srv.stats.Refused.Add(1)
	_ = refuse(h.w, status, reason) // says what the caller knows
}

// Accept answers with 101. The subprotocol must be one of those that the client
// offered; empty means the first of Options.Subprotocols that is, or none.
func (h *Handshake) Accept(subprotocol string) (*Conn, error) {
	if subprotocol == "" {
		subprotocol = h.choose()
	} else if !slices.Contains(h.offered, subprotocol) {
		return nil, fmt.Errorf("ws: accept: the client offered the subprotocols %q, not %q", h.offered, subprotocol)
	}
	if !h.srv.reserve() { // others came since Check
		h.over = true
		return nil, h.srv.refuseBusy(h.w)
	}
	nc, early, err := h.takeOver()
	if err != nil {
		h.srv.forgo()
		return nil, fmt.Errorf("ws: accept: %w", err)
	}
	c := newConn(h, subprotocol)
	c.input = early
	if err := h.srv.add(c, nc); err != nil {
		return nil, errors.Join(err, tooLate(nc))
	}
	if err := c.push.Push(h.response(subprotocol)); err != nil {
		return nil, fmt.Errorf("ws: accept: %w", err)
	}
	return c, nil
}

// takeOver takes the socket from net/http, and what was read of it already.
func (h *Handshake) takeOver() (net.Conn, []byte, error) {
	nc, rw, err := http.NewResponseController(h.w).Hijack()
	if err != nil {
		h.Refuse(http.StatusInternalServerError, "the connection cannot be taken over")
		return nil, nil, fmt.Errorf("a middleware hides the connection, its ResponseWriter needs Unwrap: %w", err)
	}
	h.over = true
	early, err := rw.Reader.Peek(rw.Reader.Buffered()) // belongs to the first frame
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, errors.Join(err, nc.Close())
	}
	return nc, slices.Clone(early), nil
}

// tooLate answers a handshake that was let in just before the server went away,
// and is no request of net/http any more.
func tooLate(nc net.Conn) error {
	err := nc.SetDeadline(time.Now().Add(time.Second))
	if err == nil {
		_, err = nc.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
	}
	return errors.Join(err, nc.Close())
}

func (h *Handshake) choose() string {
	for _, p := range h.srv.opts.Subprotocols {
		if slices.Contains(h.offered, p) {
			return p
		}
	}
	return ""
}

// response is RFC 6455, 4.2.2, with the headers that others have set.
func (h *Handshake) response(subprotocol string) []byte {
	sum := sha1.Sum([]byte(h.r.Header.Get("Sec-Websocket-Key") + guid))
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b.WriteString(base64.StdEncoding.EncodeToString(sum[:]))
	b.WriteString("\r\n")
	if subprotocol != "" {
		b.WriteString("Sec-WebSocket-Protocol: " + subprotocol + "\r\n")
	}
	if h.deal.window > 0 {
		b.WriteString("Sec-WebSocket-Extensions: " + h.deal.header() + "\r\n")
	}
	own := map[string]bool{"Upgrade": true, "Connection": true, "Sec-Websocket-Accept": true, "Sec-Websocket-Protocol": true,
		"Sec-Websocket-Extensions": true, "Content-Length": true, "Transfer-Encoding": true, "Content-Type": true}
	// It writes nothing that could split the response, and a Builder never fails.
	_ = h.w.Header().WriteSubset(&b, own)
	b.WriteString("\r\n")
	return []byte(b.String())
}

// tokens splits the values of a header that is a list.
func tokens(values []string) []string {
	var out []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// add gives the connection to the pool that writes to it, in the place that was
// reserved.
func (s *Server) add(c *Conn, nc net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming--
	if s.closing {
		return fmt.Errorf("ws: accept: %w", net.ErrClosed)
	}
	policy := push.Conflate // without keys as Disconnect
	if s.opts.DropMessages {
		policy = push.Drop
	}
	var err error
	c.push, err = s.pool.Add(nc, &push.ConnOptions{Limit: s.opts.Queue, Policy: policy, WriteTimeout: s.opts.WriteTimeout, OnClose: c.closed})
	if err != nil {
		return fmt.Errorf("ws: accept: %w", err)
	}
	c.place = int32(len(s.conns))
	s.conns = append(s.conns, c)
	s.stats.Open.Add(1)
	s.stats.Opened.Add(1)
	c.timer = s.wheel.NewTimer(c.beat)
	c.timer.Reset(s.opts.Ping)
	return nil
}
