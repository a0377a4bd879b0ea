package ws

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
)

// serve makes a server whose connections are handled by serve, until the test
// ends.
func serve(t testing.TB, opts Options, handle func(*Conn)) (s *Server, addr string) {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := s.Accept(w, r); err == nil {
			handle(c)
		}
	}))
	t.Cleanup(web.Close)
	t.Cleanup(s.Close)
	return s, web.Listener.Addr().String()
}

// echo sends back what comes.
func echo(c *Conn) {
	for {
		m, err := c.Read()
		if err != nil {
			return
		}
		_ = c.Write(m) // the next read tells
	}
}

// peer is a client that says exactly what it is told to.
type peer struct {
	t    testing.TB
	nc   net.Conn
	r    *bufio.Reader
	resp *http.Response
	chop int // how many bytes go out at once; 0 is all
}

const patience = time.Minute

// dial does the handshake, with further headers.
func dial(t testing.TB, addr string, headers ...string) *peer {
	t.Helper()
	p := dialRaw(t, addr)
	p.shake(headers...)
	if p.resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake was answered %s", p.resp.Status)
	}
	return p
}

func dialRaw(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return newPeer(t, nc)
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455, 1.3

func (p *peer) shake(headers ...string) {
	p.t.Helper()
	lines := []string{"GET /ws HTTP/1.1", "Host: " + p.nc.RemoteAddr().String(), "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Version: 13"}
	p.request(append(lines, headers...)...)
}

// request sends a request's lines and reads the answer.
func (p *peer) request(lines ...string) {
	p.t.Helper()
	p.write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	var err error
	if p.resp, err = http.ReadResponse(p.r, nil); err != nil {
		p.t.Fatalf("read the answer to the handshake: %v", err)
	}
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	chop := p.chop
	if chop == 0 {
		chop = max(len(b), 1)
	}
	for ; len(b) > 0; b = b[min(chop, len(b)):] {
		if _, err := p.nc.Write(b[:min(chop, len(b))]); err != nil {
			return // the server may have had enough; what it said tells
		}
	}
}

// frame is one frame of a client.
type frame struct {
	first   byte
	payload string
}

func text(s string) frame          { return frame{bitFin | opText, s} }
func binaryFrame(s string) frame   { return frame{bitFin | opBinary, s} }
func begin(s string) frame         { return frame{opText, s} }
func more(s string) frame          { return frame{opContinuation, s} }
func last(s string) frame          { return frame{bitFin | opContinuation, s} }
func ping(s string) frame          { return frame{bitFin | opPing, s} }
func pong(s string) frame          { return frame{bitFin | opPong, s} }
func closing(payload string) frame { return frame{bitFin | opClose, payload} }

func closeWith(code int, reason string) frame {
	return closing(string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason)
}

// masked is the frame as a client sends it.
func (f frame) masked() []byte {
	var key [4]byte
	_, _ = rand.Read(key[:]) // never fails
	b := appendFrame(nil, 0, []byte(f.payload))
	b[0] = f.first
	b[1] |= bitMask
	head := len(b) - len(f.payload)
	out := append(append(bytes.Clone(b[:head]), key[:]...), b[head:]...)
	unmask(out[head+4:], key, 0)
	return out
}

func (p *peer) send(frames ...frame) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, f.masked()...)
	}
	p.write(b)
}

// next reads one frame of the server: its opcode, its payload, and whether it
// is compressed. At the end of the connection the error is io.EOF.
func (p *peer) next() (op byte, payload []byte, packed bool, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, false, err
	}
	if head[1]&bitMask != 0 || head[0]&bitFin == 0 {
		return 0, nil, false, errors.New("the server sent a frame that is masked or a fragment")
	}
	size := uint64(head[1])
	var long [8]byte
	switch size {
	case 126:
		_, err = io.ReadFull(p.r, long[6:])
		size = binary.BigEndian.Uint64(long[:])
	case 127:
		_, err = io.ReadFull(p.r, long[:])
		size = binary.BigEndian.Uint64(long[:])
	}
	if err != nil {
		return 0, nil, false, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(p.r, payload)
	return head[0] & 0x0f, payload, head[0]&bitRSV1 != 0, err
}

// said is the next frame in words: "text hello", "close 1000 bye", "EOF".
func (p *peer) said() string {
	op, payload, packed, err := p.next()
	if err != nil {
		return errorWord(err)
	}
	if packed {
		if payload, err = inflate(payload, 64<<20); err != nil {
			return err.Error()
		}
	}
	switch op {
	case opText:
		return "text " + string(payload)
	case opBinary:
		return "binary " + string(payload)
	case opPing:
		return "ping " + string(payload)
	case opPong:
		return "pong " + string(payload)
	case opClose:
		if len(payload) < 2 {
			return "close"
		}
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:]))
	}
	return fmt.Sprintf("opcode %d", op)
}

func errorWord(err error) string {
	if errors.Is(err, io.EOF) {
		return "EOF"
	}
	return err.Error()
}

// wants fails unless the server says this next. A want that ends in "…" is a
// prefix.
func (p *peer) wants(want ...string) {
	p.t.Helper()
	for _, w := range want {
		got := p.said()
		if prefix, open := strings.CutSuffix(w, "…"); open && strings.HasPrefix(got, prefix) {
			continue
		}
		if got != w {
			p.t.Fatalf("the server said %.200q (%d bytes), want %.200q (%d bytes)", got, len(got), w, len(w))
		}
	}
}

// counted waits until a counter is want.
func counted(t *testing.T, what string, count func() uint64, want uint64) {
	t.Helper()
	for end := time.Now().Add(patience); count() != want; {
		if time.Now().After(end) {
			t.Fatalf("%s: %d, want %d", what, count(), want)
		}
		<-time.After(time.Millisecond)
	}
}

func message(s string) channels.Message { return channels.Message{Text: true, Data: []byte(s)} }

func dialTLS(t *testing.T, addr string, config *tls.Config) *peer {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	config.ServerName = "example.com" // of httptest's certificate
	nc, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return newPeer(t, nc)
}
