package channels

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Event is a message for consumers: a type that says what it is, such as
// "chat.message", and fields. On the wire it is a map in msgpack with the type
// under "type", as channels_redis writes it. It is immutable and may be shared.
type Event struct {
	Type string
	body []byte

	group  string // by which it came
	offset uint64 // there, if it is kept
}

// ErrEvent is what errors of events that cannot be written or read match.
var ErrEvent = errors.New("not an event")

// maxType bounds a type in bytes.
const maxType = 99

// NewEvent makes an event. fields is a struct, whose fields go by their JSON
// names, a map with string keys, or nil; it has no field "type".
func NewEvent(typ string, fields any) (Event, error) {
	if err := checkType(typ); err != nil {
		return Event{}, err
	}
	raw := []byte{mapFix}
	if fields != nil {
		var b bytes.Buffer
		enc := msgpack.NewEncoder(&b)
		enc.SetCustomStructTag("json")
		enc.SetOmitEmpty(false)
		enc.UseCompactInts(true) // msgpack-python takes the smallest form
		enc.SetSortMapKeys(true)
		if err := enc.Encode(fields); err != nil {
			return Event{}, fmt.Errorf("event %s: %w: %w", typ, ErrEvent, err)
		}
		if raw = b.Bytes(); raw[0] == nilValue { // a nil map or pointer
			raw = []byte{mapFix}
		}
	}
	body, err := withType(typ, raw)
	if err != nil {
		return Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	return readEvent(&scanner{b: body, plain: true})
}

// withType puts the type in front of the other fields.
func withType(typ string, raw []byte) ([]byte, error) {
	s := scanner{b: raw}
	n, err := s.mapHeader()
	if err != nil {
		return nil, fmt.Errorf("%w: its fields are no struct and no map", ErrEvent)
	}
	out := make([]byte, 0, len(raw)+len(typ)+16)
	out = appendMapHeader(out, n+1)
	out = appendString(out, "type")
	out = appendString(out, typ)
	return append(out, raw[s.at:]...), nil
}

// ReadEvent reads what another process sent, and checks that it is whole: one
// map with text keys, nested at most 512 deep, and a type. The event keeps
// body.
func ReadEvent(body []byte) (Event, error) {
	return readEvent(&scanner{b: body})
}

func readEvent(s *scanner) (Event, error) {
	body := s.b
	if err := engine.CheckSize("event", len(body), engine.MaxMessage); err != nil {
		return Event{}, err
	}
	n, err := s.mapHeader()
	if err != nil {
		return Event{}, err
	}
	typ, found := "", false
	for range n {
		key, err := s.text()
		if err != nil {
			return Event{}, fmt.Errorf("%w: a key is not text", ErrEvent)
		}
		if key != "type" {
			if err := s.skip(); err != nil {
				return Event{}, err
			}
			continue
		}
		if typ, err = s.text(); err != nil || found {
			return Event{}, fmt.Errorf("%w: its type is not text, or there are two", ErrEvent)
		}
		found = true
	}
	if s.at != len(body) {
		return Event{}, fmt.Errorf("%w: %d bytes follow it", ErrEvent, len(body)-s.at)
	}
	if err := checkType(typ); err != nil {
		return Event{}, err
	}
	return Event{Type: typ, body: body}, nil
}

// checkType refuses what Django's dispatch could not serve, or should not.
// channels/consumer.py get_handler_name: no leading underscore or dot.
func checkType(typ string) error {
	if typ == "" || len(typ) > maxType || typ[0] == '_' || typ[0] == '.' {
		return fmt.Errorf("%w: type %.99q is empty, longer than %d bytes or begins with a dot or an underscore", ErrEvent, typ, maxType)
	}
	if strings.Trim(typ, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fmt.Errorf("%w: type %q is not made of letters, digits, dots, dashes and underscores", ErrEvent, typ)
	}
	for i := range len(typ) {
		if c := typ[i]; c <= ' ' || c >= 0x7f {
			return fmt.Errorf("%w: type %q has bytes that are not printable", ErrEvent, typ)
		}
	}
	return nil
}

// Decode reads the fields into a struct, by their JSON names, or a map.
// Fields that it does not have are passed over.
func (e Event) Decode(into any) error {
	dec := msgpack.NewDecoder(bytes.NewReader(e.body))
	dec.SetCustomStructTag("json")
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("event %s: %w", e.Type, err)
	}
	return nil
}

// Body returns the event as it travels. The caller does not change it.
func (e Event) Body() []byte { return e.body }
