package ws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/internal/push"
)

// ErrClosed is the error of writing to a connection that was closed. Match it
// with errors.Is.
var ErrClosed = errors.New("ws: connection is closed")

// Conn is a WebSocket. One goroutine reads; everything else may be called at
// once.
type Conn struct {
	srv         *Server
	request     atomic.Pointer[http.Request]
	push        *push.Conn
	timer       *push.Timer
	subprotocol string
	alive       atomic.Int64  // when something came last, since srv.base
	begun       atomic.Int64  // likewise, the message that is not whole yet; 0 for none
	pinged      time.Duration // likewise, the last ping was sent; of the wheel's goroutine
	place       int32         // among the server's; guarded by its lock
	bits        int8          // of the window of compression, 0 without

	// Of the goroutine that reads.
	try     func(fd uintptr) bool // made once
	parse   *reader               // nil between messages
	chunk   *[chunkSize]byte      // nil: input is in none
	input   []byte                // read, and not yet parsed
	readErr error                 // of try
	over    error                 // what Read returns from now on

	mu      sync.Mutex
	closing *channels.Closed // what our close frame said
}

// chunkSize is how much is read at once.
const chunkSize = 16 << 10

// chunks are buffers for what was read; an idle connection has none.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func newConn(h *Handshake, subprotocol string) *Conn {
	c := &Conn{srv: h.srv, bits: int8(h.deal.window), subprotocol: subprotocol}
	c.request.Store(h.r)
	c.try = c.readNow
	c.touch()
	return c
}

// Request returns the request the connection began with.
func (c *Conn) Request() *http.Request { return c.request.Load() }

// settle lets go of what only the handshake needed.
func (c *Conn) settle(ctx context.Context) {
	r := c.Request()
	kept := r.WithContext(ctx)
	kept.Header = make(http.Header)
	for name, values := range r.Header {
		if name != "Connection" && name != "Upgrade" && !strings.HasPrefix(name, "Sec-Websocket-") {
			kept.Header[name] = slices.Clone(values) // net/http has them all in one array
		}
	}
	c.request.Store(kept)
}

// Subprotocol returns the one that was agreed on, empty for none.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// Read waits for the next message, which is the caller's. Control frames are
// answered while it does, so it must be called until it returns an error: a
// [*channels.Closed] with the code of the client, 1005 if it gave none, 1006 if
// it just went, or ours if we closed first. The connection is closed then.
func (c *Conn) Read() (channels.Message, error) {
	for c.over == nil {
		m, got, ctl, err := c.reader().next(&c.input)
		switch f, bad := failure(err); {
		case bad:
			c.fail(f)
		case got:
			c.touch()
			c.begun.Store(0)
			if len(c.input) == 0 {
				c.recycle()
			}
			if !c.isClosing() {
				return m, nil
			}
		case ctl.op != 0:
			c.touch()
			c.control(ctl)
		default:
			c.waits()
			if err := c.fill(); err != nil {
				c.gone()
			}
		}
	}
	c.recycle()
	return channels.Message{}, c.over
}

func (c *Conn) touch() { c.alive.Store(int64(time.Since(c.srv.base))) }

// waits notes that there is only a part of a message, if so. Its pieces are
// signs of life, for a client can answer no ping in the middle of a frame; how
// long it may go on like that is bounded by MessageTimeout.
func (c *Conn) waits() {
	if !c.parse.partial() {
		c.begun.Store(0) // it was a control frame
		return
	}
	c.touch()
	if c.begun.Load() == 0 {
		c.begun.Store(max(c.alive.Load(), 1))
	}
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != nil
}

func (c *Conn) control(ctl control) {
	switch ctl.op {
	case opPing:
		// Should it fail the connection is over, which the next read tells.
		_ = c.push.Push(appendFrame(nil, opPong, ctl.payload))
	case opClose:
		code, reason, err := readClose(ctl.payload)
		if f, bad := failure(err); bad {
			c.fail(f)
			return
		}
		if c.isClosing() { // both have said it
			c.finish(&channels.Closed{Code: code, Reason: reason})
			return
		}
		c.close(code, "", ByClient) // RFC 6455, 5.5.1: the code is sent back
		c.drain()
		c.finish(&channels.Closed{Code: code, Reason: reason})
	}
}

// fail tells the client what it did wrong. What it still sends is read and
// dropped, for a socket closed with bytes unread would reset the connection
// and lose our word.
func (c *Conn) fail(f *Failure) {
	cause := Broken
	switch f.Code {
	case CloseInvalid:
		cause = Invalid
	case CloseTooBig:
		cause = TooBig
	}
	c.close(f.Code, f.Reason, cause)
	c.drain()
	c.finish(&channels.Closed{Code: f.Code, Reason: f.Reason})
}

// drain reads until the client, too, has closed; the pool bounds the time.
func (c *Conn) drain() {
	for c.fill() == nil {
	}
}

// gone ends a connection that can no longer be read.
func (c *Conn) gone() {
	c.mu.Lock()
	closed := c.closing
	c.mu.Unlock()
	if closed == nil {
		closed = &channels.Closed{Code: CloseAbnormal}
	}
	c.finish(closed)
}

func (c *Conn) finish(closed *channels.Closed) {
	c.over = closed
	c.push.Close(end(Gone)) // unless there is a reason already
}

// Write queues a message and returns; it keeps m.Data, which nobody may change
// afterwards. The error says why the connection has ended, or that a text is
// not UTF-8.
func (c *Conn) Write(m channels.Message) error {
	frame, err := encode(m, c.window(m))
	if err != nil {
		return err
	}
	return c.send(m.Key, frame)
}

// WriteShared is Write of messages for many connections, each of which is
// encoded once for all of them. One that cannot be encoded holds up no other.
func (c *Conn) WriteShared(messages ...*channels.Shared) error {
	var room [16][]byte // so that few need no memory
	frames := room[:0]
	var bad, ended error
	for _, s := range messages {
		window := c.window(s.Message)
		frame, err := s.Form(window, func(m channels.Message) ([]byte, error) { return encode(m, window) })
		switch {
		case err != nil:
			bad = err
		case s.Key == "":
			frames = append(frames, frame)
		default:
			ended = cmp.Or(c.send("", frames...), c.send(s.Key, frame))
			frames = frames[:0]
		}
	}
	return cmp.Or(c.send("", frames...), ended, bad)
}

// Flush waits until all that was written before is in the kernel's hands. The
// error is why the connection ended before that, or the context's cause.
func (c *Conn) Flush(ctx context.Context) error {
	if err := c.push.Flush(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

func (c *Conn) send(key string, frames ...[]byte) (err error) {
	switch {
	case len(frames) == 0:
		return nil
	case key == "":
		err = c.push.Push(frames...)
	default:
		err = c.push.PushKey(key, frames[0])
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// window is that of compression, 0 for a message that is not compressed.
func (c *Conn) window(m channels.Message) int {
	if len(m.Data) < c.srv.opts.CompressMin {
		return 0
	}
	return int(c.bits)
}

func encode(m channels.Message, window int) ([]byte, error) {
	if m.Text && !utf8.Valid(m.Data) {
		return nil, errors.New("ws: write: the text is not UTF-8: send it as binary")
	}
	if window > 0 {
		return deflate(opcode(m), m.Data, window)
	}
	return frameOf(m), nil
}

// Close begins the close handshake: what was written before is sent, then the
// code and the reason (at most 123 bytes of it). The connection is closed when
// the client has answered, or three seconds later. Codes are those a server may
// send: 1000 to 1003, 1007 to 1014, 3000 to 4999.
func (c *Conn) Close(code int, reason string) error {
	if !validCode(code) {
		return fmt.Errorf("ws: close: %d is no code to be sent: take 1000 or one of 3000 to 4999", code)
	}
	if !utf8.ValidString(reason) {
		return errors.New("ws: close: the reason is not UTF-8")
	}
	c.close(code, reason, ByServer)
	return nil
}

func (c *Conn) close(code int, reason string, cause Cause) {
	c.mu.Lock()
	if c.closing != nil {
		c.mu.Unlock()
		return
	}
	c.closing = &channels.Closed{Code: code, Reason: reason}
	c.mu.Unlock()
	c.push.End(closeFrame(code, reason), end(cause))
}

// beat pings a client that is silent, drops one that stays so, and closes one
// that does not end what it has begun. It is run by the wheel.
func (c *Conn) beat() {
	o := &c.srv.opts
	now, alive, begun := time.Since(c.srv.base), time.Duration(c.alive.Load()), time.Duration(c.begun.Load())
	next := o.Ping - (now - alive)
	switch {
	case begun != 0 && now-begun >= o.MessageTimeout:
		c.close(ClosePolicy, fmt.Sprintf("a message took longer than %v", o.MessageTimeout), Late)
		return
	case c.pinged > alive && now-c.pinged >= o.PingTimeout:
		c.push.Close(end(Silent))
		return
	case c.pinged > alive: // the answer is not due yet
		next = o.PingTimeout - (now - c.pinged)
	case next <= 0:
		c.pinged, next = now, o.PingTimeout
		_ = c.push.Push(pingFrame) // its error has ended the timer too
	}
	if begun != 0 {
		next = min(next, o.MessageTimeout-(now-begun))
	}
	c.timer.Reset(next)
}

var pingFrame = appendFrame(nil, opPing, nil)

// closed is told by the pool, once, that the socket was closed.
func (c *Conn) closed(reason error) {
	c.timer.Stop()
	cause := Gone
	var e end
	switch {
	case errors.As(reason, &e):
		cause = Cause(e)
	case errors.Is(reason, push.ErrSlow):
		cause = Slow
	case errors.Is(reason, push.ErrClosed): // with its pool
		cause = ByServer
	}
	s := &c.srv.stats
	s.closed[cause].Add(1)
	s.Open.Add(-1)
	c.srv.remove(c)
}

// fill reads some more.
func (c *Conn) fill() error {
	c.recycle()
	if raw := c.push.Raw(); raw != nil {
		err := raw.Read(c.try)
		if err == nil {
			err = c.readErr
		}
		return err
	}
	// A read that waits holds its buffer.
	c.chunk = chunks.Get().(*[chunkSize]byte)
	n, err := c.push.NetConn().Read(c.chunk[:])
	c.input = c.chunk[:n]
	if n > 0 {
		return nil
	}
	return err
}

// readNow reads what is there. It is false if nothing is, and called again when
// something may be.
func (c *Conn) readNow(fd uintptr) bool {
	c.chunk = chunks.Get().(*[chunkSize]byte)
	n, wait, err := readNow(fd, c.chunk[:])
	c.input, c.readErr = c.chunk[:n], err
	if n == 0 {
		c.recycle()
	}
	return !wait
}

// recycle gives back what an idle connection does not need.
func (c *Conn) recycle() {
	if c.chunk != nil {
		chunks.Put(c.chunk)
	}
	c.chunk, c.input = nil, nil
	if c.parse != nil && !c.parse.partial() {
		readers.Put(c.parse)
		c.parse = nil
	}
}

// readers are parsers between messages.
var readers = sync.Pool{New: func() any { return new(reader) }}

func (c *Conn) reader() *reader {
	if c.parse == nil {
		c.parse = readers.Get().(*reader)
		c.parse.max, c.parse.deflate = c.srv.opts.MaxMessage, c.bits > 0
	}
	return c.parse
}
