package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Options configures a Client. The zero value is ready to use and asks every
// worker.
type Options struct {
	// Timeout is how long to wait for the next reply. Zero means a second, as
	// in Celery.
	Timeout time.Duration

	// Nodes are the names of those that should act. Empty means all.
	Nodes []string

	// Pattern selects nodes by name where Nodes is empty. Matcher says how it
	// is read; empty means [Glob].
	Pattern string
	Matcher Matcher

	// Limit is how many replies are enough. Zero means as many as there are
	// Nodes, and if there are none, all that come in time.
	Limit int

	// Clock is the logical clock that this process shares between its events
	// and its remote control. Nil means one of the client's own.
	Clock *celery.Clock
}

// Client asks workers, in Go and in Python, and tells them what to do. It may
// be used by any number of goroutines, and needs no closing.
type Client struct {
	broker engine.Broker
	opts   Options
}

// maxReplies bounds how many nodes one call hears.
const maxReplies = 10_000

// New makes a Client. Nil options are the defaults.
func New(broker engine.Broker, opts *Options) (*Client, error) {
	c := &Client{broker: broker}
	if opts != nil {
		c.opts = *opts
	}
	o := &c.opts
	switch {
	case broker == nil:
		return nil, errors.New("control: new: a broker is needed")
	case o.Timeout < 0:
		return nil, fmt.Errorf("control: new: timeout %v is negative", o.Timeout)
	case o.Limit < 0:
		return nil, fmt.Errorf("control: new: limit %d is negative", o.Limit)
	case len(o.Nodes) > 0 && o.Pattern != "":
		return nil, errors.New("control: new: nodes and a pattern exclude each other")
	}
	if o.Matcher == "" {
		o.Matcher = Glob
	}
	if o.Matcher != Glob && o.Matcher != PCRE {
		return nil, fmt.Errorf("control: new: matcher %q is neither glob nor pcre", string(o.Matcher))
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.Limit == 0 {
		o.Limit = len(o.Nodes)
	}
	if o.Clock == nil {
		o.Clock = new(celery.Clock)
	}
	o.Nodes = slices.Clone(o.Nodes)
	return c, nil
}

// To returns a client like c that asks these nodes alone.
func (c *Client) To(nodes ...string) *Client {
	to := *c
	to.opts.Nodes, to.opts.Pattern, to.opts.Limit = slices.Clone(nodes), "", len(nodes)
	return &to
}

// Command is what workers are told or asked: a method and its keyword
// arguments. The functions of this package make those that Celery has.
type Command struct {
	Method string

	// Arguments becomes a JSON object. Nil means {}.
	Arguments any
}

// Cast tells the workers and waits for no reply. It returns once the engine has
// sent the message; whether anybody heard it is not known.
func (c *Client) Cast(ctx context.Context, cmd Command) error {
	if err := c.send(ctx, cmd, "", nil); err != nil {
		return fmt.Errorf("control: send %s: %w", cmd.Method, err)
	}
	return nil
}

// Replies are what nodes answered, by name. A node that failed answers
// {"error": …}; the functions that read replies make a [NodeError] of it.
type Replies map[string]json.RawMessage

// Call tells the workers and collects their replies. It returns when no more
// have come for the timeout, or the limit is reached. No reply is no error.
func (c *Client) Call(ctx context.Context, cmd Command) (Replies, error) {
	replies := Replies{}
	err := c.Each(ctx, cmd, func(node string, reply json.RawMessage) { replies[node] = reply })
	return replies, err
}

// Each is Call for one who wants every reply as it comes. Of two nodes that
// bear one name it hears both.
func (c *Client) Each(ctx context.Context, cmd Command, heard func(node string, reply json.RawMessage)) error {
	if err := c.each(ctx, cmd, heard); err != nil {
		return fmt.Errorf("control: call %s: %w", cmd.Method, err)
	}
	return nil
}

func (c *Client) each(ctx context.Context, cmd Command, heard func(string, json.RawMessage)) error {
	key, ticket := uuid.NewString(), uuid.NewString()
	listening, stop := context.WithCancel(ctx)
	defer stop()
	// The mailbox must be there before the request: on Redis a reply to one
	// that is not is dropped.
	replies, err := c.broker.Listen(listening, topicReplies(key))
	if err != nil {
		return err
	}
	if err := c.send(ctx, cmd, ticket, &address{replyExchange, key}); err != nil {
		return err
	}
	silence := time.AfterFunc(c.opts.Timeout, stop)
	defer silence.Stop()
	most := c.opts.Limit
	if most == 0 {
		most = maxReplies
	}
	for m := range replies {
		r, err := readReply(m)
		if err != nil || r.ticket != "" && r.ticket != ticket {
			continue // not for us; garbage in a mailbox of our own hurts nobody
		}
		c.opts.Clock.Adjust(r.clock)
		silence.Reset(c.opts.Timeout)
		heard(r.node, r.value)
		if most--; most == 0 {
			break
		}
	}
	return ctx.Err()
}

// send publishes a request.
func (c *Client) send(ctx context.Context, cmd Command, ticket string, to *address) error {
	headers := requestHeaders{Clock: c.opts.Clock.Forward(), Expires: epoch(time.Now().Add(c.opts.Timeout))}
	m, err := message(headers, c.body(cmd, ticket, to))
	if err != nil {
		return err
	}
	return c.broker.Broadcast(ctx, topicRequests, m)
}

func (c *Client) body(cmd Command, ticket string, to *address) body {
	b := body{Method: cmd.Method, Arguments: cmd.Arguments, Destination: c.opts.Nodes, Ticket: ticket, ReplyTo: to}
	if b.Arguments == nil {
		b.Arguments = struct{}{}
	}
	if len(b.Destination) == 0 {
		b.Destination = nil
	}
	if c.opts.Pattern != "" {
		matcher := string(c.opts.Matcher)
		b.Pattern, b.Matcher = &c.opts.Pattern, &matcher
	}
	return b
}

// NodeError is what a node answered instead of what it was asked for.
type NodeError struct {
	Node string
	Text string // an exception's repr, or a sentence
}

func (e *NodeError) Error() string { return "control: node " + e.Node + ": " + e.Text }

// answer is the form of most replies. celery/worker/control.py ok and nok.
type answer struct {
	OK    json.RawMessage `json:"ok"`
	Error json.RawMessage `json:"error"`
}

// failed returns the error in a reply, if it is one.
func failed(node string, raw json.RawMessage) error {
	var a answer
	if json.Unmarshal(raw, &a) != nil || a.Error == nil || a.OK != nil {
		return nil
	}
	var text string
	if json.Unmarshal(a.Error, &text) != nil {
		text = string(a.Error)
	}
	return &NodeError{node, text}
}

// OK returns the text of each node's {"ok": text}; null, which commands that
// have nothing to say are answered with, is empty. Nodes that failed are joined
// in the error as [*NodeError], beside the others' texts.
func (r Replies) OK() (map[string]string, error) {
	return read(r, func(raw json.RawMessage) (string, error) {
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil {
			return "", err
		}
		var text string
		if a.OK == nil {
			return "", nil
		}
		if json.Unmarshal(a.OK, &text) != nil {
			text = string(a.OK)
		}
		return text, nil
	})
}

// read decodes the reply of each node and joins what went wrong.
func read[T any](r Replies, decode func(json.RawMessage) (T, error)) (map[string]T, error) {
	out := make(map[string]T, len(r))
	var errs []error
	for node, raw := range r {
		err := failed(node, raw)
		if err == nil {
			var v T
			if v, err = decode(raw); err == nil {
				out[node] = v
				continue
			}
			err = &NodeError{node, "reply cannot be read: " + err.Error()}
		}
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}
