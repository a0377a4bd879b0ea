package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// The exchanges of Celery's mailboxes. celery/app/defaults.py control_exchange,
// kombu/pidbox.py Mailbox.exchange_fmt and reply_exchange_fmt.
const (
	requestExchange = "celery.pidbox"
	replyExchange   = "reply.celery.pidbox"
)

// topicRequests is where workers listen. Its routing key is empty, so that the
// channel on Redis has no second part.
var topicRequests = engine.Topic{Exchange: requestExchange}

// topicReplies is the mailbox of one caller.
func topicReplies(key string) engine.Topic {
	return engine.Topic{Exchange: replyExchange, Key: key, Direct: true}
}

// maxTicket bounds what a caller may have us repeat, in bytes.
const maxTicket = 1024

// body is a request as it is written: kombu/pidbox.py Mailbox._publish, with
// its keys in that order.
type body struct {
	Method      string   `json:"method"`
	Arguments   any      `json:"arguments"`
	Destination []string `json:"destination"`
	Pattern     *string  `json:"pattern"`
	Matcher     *string  `json:"matcher"`
	Ticket      string   `json:"ticket,omitempty"`
	ReplyTo     *address `json:"reply_to,omitempty"`
}

type address struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// requestHeaders: expires is Unix seconds, 0 for never. Nobody checks it but
// brokers with message TTLs.
type requestHeaders struct {
	Clock   uint64  `json:"clock"`
	Expires float64 `json:"expires"`
}

type replyHeaders struct {
	Ticket json.RawMessage `json:"ticket"`
	Clock  uint64          `json:"clock"`
}

// message writes headers and body as kombu's JSON serializer marks them.
func message(headers, body any) (engine.Message, error) {
	h, err := encode(headers)
	if err != nil {
		return engine.Message{}, err
	}
	b, err := encode(body)
	if err != nil {
		return engine.Message{}, err
	}
	return engine.Message{ContentType: "application/json", ContentEncoding: "utf-8", Headers: h, Body: b}, nil
}

// encode writes JSON without HTML's escapes.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// request is one as it was read. Where only ticket and replyTo could be read,
// the error beside it can still be answered.
type request struct {
	method  string
	args    arguments
	to      audience
	ticket  json.RawMessage
	replyTo string // routing key; empty when no reply is wanted
	clock   uint64
}

// readRequest reads a request and never fails for a key it does not know.
// kombu/pidbox.py Node.handle_message and dispatch. The request is nil when
// nobody can be answered.
func readRequest(m engine.Message) (*request, error) {
	parts, err := readBody(m)
	if err != nil {
		return nil, err
	}
	r := &request{clock: readClock(m.Headers)}
	if r.to, err = readAudience(parts); err != nil {
		return nil, err
	}
	if r.ticket, r.replyTo, err = readReplyTo(parts); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(parts["method"], &r.method); err != nil || r.method == "" {
		return r, failure{"TypeError", "dispatch() missing 1 required positional argument: 'method'"}
	}
	r.args, err = readArguments(r.method, parts["arguments"])
	return r, err
}

// readBody refuses by name what is not JSON, as Celery's accept_content does.
func readBody(m engine.Message) (map[string]json.RawMessage, error) {
	if t := m.ContentType; t != "" && t != "application/json" {
		return nil, fmt.Errorf("content type %.60q is not accepted, only application/json is", t)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(m.Body, &parts); err != nil {
		return nil, fmt.Errorf("body is not a JSON object: %w", err)
	}
	return parts, nil
}

func readClock(headers []byte) uint64 {
	var h struct {
		Clock float64 `json:"clock"`
	}
	if json.Unmarshal(headers, &h) != nil || h.Clock < 0 || h.Clock > 1<<53 || h.Clock != math.Trunc(h.Clock) {
		return 0 // a clock that nobody can have counts as none
	}
	return uint64(h.Clock)
}

// readReplyTo accepts no other exchange than Celery's own for replies: whoever
// can send a request must not choose where else we write.
func readReplyTo(parts map[string]json.RawMessage) (ticket json.RawMessage, key string, err error) {
	ticket = parts["ticket"]
	if ticket == nil {
		ticket = json.RawMessage("null")
	}
	if len(ticket) > maxTicket {
		return nil, "", fmt.Errorf("ticket has %d bytes, at most %d are repeated", len(ticket), maxTicket)
	}
	var to *address
	if raw := parts["reply_to"]; raw != nil {
		if err := json.Unmarshal(raw, &to); err != nil {
			return nil, "", fmt.Errorf("reply_to: %w", err)
		}
	}
	if to == nil {
		return ticket, "", nil
	}
	if to.Exchange != replyExchange {
		return nil, "", fmt.Errorf("reply_to names exchange %.60q, only %s gets replies", to.Exchange, replyExchange)
	}
	if to.RoutingKey == "" {
		return nil, "", fmt.Errorf("reply_to has no routing key")
	}
	return ticket, to.RoutingKey, topicReplies(to.RoutingKey).CheckSend()
}

// reply is one as it was read: what one node says to one ticket.
type reply struct {
	node   string
	value  json.RawMessage
	ticket string // empty when the message names none
	clock  uint64
}

func readReply(m engine.Message) (reply, error) {
	parts, err := readBody(m)
	if err != nil {
		return reply{}, err
	}
	if len(parts) != 1 {
		return reply{}, fmt.Errorf("body names %d nodes, want one", len(parts))
	}
	r := reply{clock: readClock(m.Headers)}
	var h struct {
		Ticket string `json:"ticket"`
	}
	if json.Unmarshal(m.Headers, &h) == nil {
		r.ticket = h.Ticket
	}
	for node, value := range parts {
		r.node, r.value = node, value
	}
	return r, nil
}

// seconds is a Python float: it always has a fraction. A number without one is
// an int to Python, at which celery/utils/collections.py LimitedSet fails.
type seconds float64

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(s), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

func epoch(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
