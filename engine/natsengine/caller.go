package natsengine

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// caller sends messages that are answered, thousands at once, on one
// connection. jetstream's futures do that too, for three times the
// allocations; a task costs three of them. Its methods may be called at once.
type caller struct {
	nc    *nats.Conn
	inbox string // with its last dot
	chans sync.Pool

	mu   sync.Mutex
	last uint64
	open map[uint64]chan *nats.Msg
}

// errLost: the connection was lost before the answer came, so nobody knows.
var errLost = errors.New("natsengine: the connection was lost before the answer")

// newCaller subscribes to the answers.
func newCaller(nc *nats.Conn) (*caller, error) {
	c := &caller{nc: nc, inbox: nats.NewInbox() + ".", open: map[uint64]chan *nats.Msg{}}
	c.chans.New = func() any { return make(chan *nats.Msg, 1) }
	if _, err := nc.Subscribe(c.inbox+"*", c.receive); err != nil {
		return nil, err
	}
	nc.SetDisconnectErrHandler(func(*nats.Conn, error) { c.lose() })
	return c, nil
}

// send sends and returns where the answer comes: one message, or nil if the
// connection was lost. Exactly one of done and forget is to follow.
func (c *caller) send(m *nats.Msg) (no uint64, answer chan *nats.Msg, err error) {
	answer = c.chans.Get().(chan *nats.Msg)
	c.mu.Lock()
	c.last++
	no = c.last
	c.open[no] = answer
	c.mu.Unlock()
	m.Reply = c.inbox + strconv.FormatUint(no, 36)
	if err := c.nc.PublishMsg(m); err != nil {
		c.forget(no, answer)
		return 0, nil, err
	}
	return no, answer, nil
}

// done is called when the answer was received.
func (c *caller) done(answer chan *nats.Msg) { c.chans.Put(answer) }

// forget is called when nobody waits for the answer any more.
func (c *caller) forget(no uint64, answer chan *nats.Msg) {
	c.mu.Lock()
	_, open := c.open[no]
	delete(c.open, no)
	c.mu.Unlock()
	if !open { // it is there, or will be at once
		<-answer
	}
	c.chans.Put(answer)
}

func (c *caller) receive(m *nats.Msg) {
	no, err := strconv.ParseUint(m.Subject[len(c.inbox):], 36, 64)
	if err != nil {
		return
	}
	c.mu.Lock()
	answer := c.open[no]
	delete(c.open, no)
	c.mu.Unlock()
	if answer != nil { // else too late
		answer <- m
	}
}

// lose tells all who wait that no answer will come.
func (c *caller) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for no, answer := range c.open {
		delete(c.open, no)
		answer <- nil
	}
}

// readAck reads what a stream answers to a publish.
func readAck(m *nats.Msg) (seq uint64, dup bool, err error) {
	if m == nil {
		return 0, false, errLost
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, false, nats.ErrNoResponders
	}
	if seq, ok := plainAck(m.Data); ok {
		return seq, false, nil
	}
	var ack struct {
		Error     *jetstream.APIError `json:"error"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return 0, false, err
	case ack.Error != nil:
		return 0, false, ack.Error
	case ack.Seq == 0:
		return 0, false, jetstream.ErrInvalidJSAck
	}
	return ack.Seq, ack.Duplicate, nil
}

// plainAck reads the answer that nearly all are, {"stream":"S","seq":1}.
func plainAck(b []byte) (seq uint64, ok bool) {
	const head, mid = `{"stream":"`, `","seq":`
	if len(b) <= len(head) || string(b[:len(head)]) != head {
		return 0, false
	}
	i := len(head)
	for i < len(b) && tokenByte(b[i]) {
		i++
	}
	if len(b)-i <= len(mid) || string(b[i:i+len(mid)]) != mid {
		return 0, false
	}
	for i += len(mid); i < len(b)-1; i++ {
		d := b[i] - '0'
		if d > 9 || seq > 1<<59 || seq == 0 && d == 0 {
			return 0, false
		}
		seq = seq*10 + uint64(d)
	}
	return seq, seq != 0 && b[i] == '}'
}
