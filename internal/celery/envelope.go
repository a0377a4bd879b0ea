package celery

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/rhubarb-go/rhubarb/engine"
)

// MaxEnvelope is the largest envelope that ParseEnvelope reads, in bytes: a
// body of 16 MiB in base64, and room for the rest.
const MaxEnvelope = 24 << 20

// AppendEnvelope writes a message as kombu's virtual transports (Redis) carry
// it: one JSON object, the body in base64. kombu/transport/virtual/base.py
// prepare_message and _inplace_augment_message.
//
// The message's own properties go along but for those of the carrier: the
// routing key is the queue, on the default exchange, and priority is the
// argument. A delivery tag that the message has stays; else it gets a new one.
// Headers and properties that are not JSON objects are left out.
func AppendEnvelope(dst []byte, m engine.Message, queue string, priority int) []byte {
	return appendEnvelope(dst, m, "", queue, priority)
}

// AppendBroadcast writes a message like AppendEnvelope does, as one sent to an
// exchange with a routing key. Those who listen to several keys read the key
// here. celery/worker/consumer/gossip.py on_message.
func AppendBroadcast(dst []byte, m engine.Message, exchange, key string) []byte {
	return appendEnvelope(dst, m, exchange, key, 0)
}

func appendEnvelope(dst []byte, m engine.Message, exchange, key string, priority int) []byte {
	b := append(dst, `{"body":"`...)
	b = base64.StdEncoding.AppendEncode(b, m.Body)
	b = appendString(append(b, `","content-encoding":`...), orElse(m.ContentEncoding, "utf-8"))
	b = appendString(append(b, `,"content-type":`...), orElse(m.ContentType, "application/json"))
	b = append(b, `,"headers":`...)
	if len(m.Headers) > 0 && m.Headers[0] == '{' {
		b = append(b, m.Headers...)
	} else {
		b = append(b, "{}"...)
	}
	b = append(b, `,"properties":{`...)
	b, tag := appendCarried(b, m.Properties)
	b = appendString(append(b, `"delivery_info":{"exchange":`...), exchange)
	b = appendString(append(b, `,"routing_key":`...), key)
	b = strconv.AppendInt(append(b, `},"priority":`...), int64(priority), 10)
	b = append(b, `,"body_encoding":"base64","delivery_tag":`...)
	if tag != nil {
		b = append(b, tag...)
	} else {
		b = appendTag(b)
	}
	return append(b, "}}"...)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// appendCarried writes the properties that are the message's own, each with a
// comma behind, and returns its delivery tag, if any, as JSON.
func appendCarried(b, properties []byte) (_, tag []byte) {
	if len(properties) == 0 || properties[0] != '{' {
		return b, nil
	}
	// What is no object is excluded, and more properties than anyone reads
	// are cut off.
	_ = members(properties, func(key []byte, from, to int) error {
		switch string(key) {
		case "delivery_info", "priority", "body_encoding":
		case "delivery_tag":
			if raw := properties[from:to]; len(raw) > 2 && raw[0] == '"' {
				tag = raw
			}
		default:
			b = append(appendString(b, string(key)), ':')
			b = append(append(b, properties[from:to]...), ',')
		}
		return nil
	})
	return b, tag
}

// appendTag writes a random UUID of version 4 as a JSON string. It must be
// unique among the deliveries of one broker; nothing secret hangs on it.
func appendTag(b []byte) []byte {
	const hexDigits = "0123456789abcdef"
	hi, lo := rand.Uint64(), rand.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 1<<63
	b = append(b, '"')
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b = append(b, '-')
		}
		word, shift := hi, 60-4*i
		if i >= 16 {
			word, shift = lo, 60-4*(i-16)
		}
		b = append(b, hexDigits[word>>shift&15])
	}
	return append(b, '"')
}

// ParseEnvelope reads what AppendEnvelope and kombu write. The message's
// headers and properties are parts of data. Its ID and Task come from the
// headers; with protocol 1, which has none, Task is empty and ID is the
// correlation id. queue is the routing key and empty where there is none.
// Errors are [*FieldError] or [*UnsupportedError]; a text above [MaxEnvelope]
// gives [engine.ErrLimit], wrapped.
func ParseEnvelope(data []byte) (m engine.Message, queue string, priority int, err error) {
	if len(data) > MaxEnvelope {
		return m, "", 0, &FieldError{"envelope", tooLarge(MaxEnvelope)}
	}
	var e envelope
	c := checker{raw: data}
	err = c.members(func(key []byte, from, to int) error { return e.read(key, data[from:to:to]) })
	var named *FieldError
	if err != nil && !errors.As(err, &named) {
		err = &FieldError{"envelope", err}
	}
	if err == nil {
		err = e.finish()
	}
	return e.m, e.queue, e.priority, err
}

// envelope is what ParseEnvelope has read.
type envelope struct {
	m           engine.Message
	body        json.RawMessage
	encoding    string // of the body
	queue       string
	priority    int
	correlation string
}

func (e *envelope) read(key []byte, v json.RawMessage) (err error) {
	switch string(key) {
	case "body":
		e.body = v
		return nil
	case "content-type":
		e.m.ContentType, err = optional(v)
	case "content-encoding":
		e.m.ContentEncoding, err = optional(v)
	case "headers":
		e.m.Headers, e.m.ID, e.m.Task = nil, "", ""
		if !null(v) {
			e.m.Headers = v
			err = e.readHeaders(v)
		}
	case "properties":
		e.m.Properties, e.correlation, e.encoding, e.queue, e.priority = nil, "", "", "", 0
		if !null(v) {
			e.m.Properties = v
			err = e.readProperties(v)
		}
	}
	if err != nil {
		return &FieldError{string(key), err}
	}
	return nil
}

func (e *envelope) readHeaders(raw []byte) error {
	return members(raw, func(key []byte, from, to int) (err error) {
		switch string(key) {
		case "id":
			e.m.ID, err = optional(raw[from:to])
		case "task":
			e.m.Task, err = optional(raw[from:to])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

func (e *envelope) readProperties(raw []byte) error {
	return members(raw, func(key []byte, from, to int) (err error) {
		v := raw[from:to:to]
		switch string(key) {
		case "correlation_id":
			e.correlation, err = optional(v)
		case "body_encoding":
			e.encoding, err = optional(v)
		case "priority":
			if !null(v) {
				e.priority, err = whole(string(v))
			}
		case "delivery_info":
			if e.queue = ""; !null(v) {
				err = e.readRoute(v)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

func (e *envelope) readRoute(raw []byte) error {
	return members(raw, func(key []byte, from, to int) (err error) {
		if string(key) == "routing_key" {
			e.queue, err = optional(raw[from:to])
		}
		return err
	})
}

// finish decodes the body, which may stand before what says how.
func (e *envelope) finish() (err error) {
	if e.m.ID == "" {
		e.m.ID = e.correlation
	}
	if e.body == nil || null(e.body) {
		return nil
	}
	if e.body[0] != '"' {
		return &FieldError{"body", errNotText}
	}
	inner := []byte(e.body[1 : len(e.body)-1])
	if escaped(inner) {
		s, err := text(e.body)
		if err != nil {
			return &FieldError{"body", err}
		}
		inner = []byte(s)
	}
	switch e.encoding {
	case "base64":
		body := make([]byte, base64.StdEncoding.DecodedLen(len(inner)))
		n, err := base64.StdEncoding.Decode(body, inner)
		if err != nil {
			return &FieldError{"body", errors.New("it is not valid base64")}
		}
		e.m.Body = body[:n]
	case "":
		e.m.Body = inner
	default:
		return &UnsupportedError{"body encoding", e.encoding, "base64 is"}
	}
	return nil
}
