package celery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// FieldError names the part of a message that cannot be read.
type FieldError struct {
	Field string // "header " and its name, or "body", "headers", "properties"
	Err   error
}

func (e *FieldError) Error() string { return "message " + e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// UnsupportedError is a content type, encoding or compression that is refused
// by name.
type UnsupportedError struct {
	What string // "content type", "content encoding" or "compression"
	Name string
	Why  string
}

func (e *UnsupportedError) Error() string {
	text := fmt.Sprintf("message %s %.100s is not supported", e.What, e.Name)
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// Decode reads a message of protocol 2 or 1. The body is left to
// [Task.DecodeBody]; that of protocol 1, which holds everything, is read at
// once. The task keeps parts of m. Errors are [*FieldError], which wraps
// [engine.ErrLimit] for a body that is too large, or [*UnsupportedError].
func Decode(m engine.Message, lim Limits) (*Task, error) {
	if err := checkContent(m); err != nil {
		return nil, err
	}
	t := &Task{ID: m.ID, body: m.Body, pending: true, limits: lim}
	if err := t.readHeaders(m.Headers); err != nil {
		return nil, err
	}
	if err := t.readProperties(m.Properties); err != nil {
		return nil, err
	}
	if t.Name == "" {
		// celery/worker/consumer/consumer.py: "task" in the headers makes it protocol 2.
		return decodeV1(t)
	}
	if t.ID == "" {
		return nil, &FieldError{"header id", errors.New("it is missing")}
	}
	return t, nil
}

// checkContent refuses by the type first: pickle and msgpack come with the
// encoding binary.
func checkContent(m engine.Message) error {
	switch base, _, _ := strings.Cut(m.ContentType, ";"); strings.TrimSpace(base) {
	case "", "application/json":
	case "application/x-python-serialize":
		return &UnsupportedError{"content type", m.ContentType, "it is pickle, which can run code of the sender's: set task_serializer to json"}
	case "application/x-yaml", "application/x-msgpack", "application/data":
		return &UnsupportedError{"content type", m.ContentType, "set task_serializer to json"}
	default:
		return &UnsupportedError{What: "content type", Name: m.ContentType}
	}
	switch strings.ToLower(m.ContentEncoding) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil
	}
	return &UnsupportedError{"content encoding", m.ContentEncoding, "utf-8 is"}
}

func (t *Task) readHeaders(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	blank := *t
	err := peerMembers(raw, func(raw []byte) func(key []byte, from, to int) error {
		*t = blank
		all := string(raw) // the strings among the headers are parts of it
		return func(key []byte, from, to int) error {
			if null(all[from:to]) {
				return nil
			}
			known, err := t.readHeader(key, all[from:to])
			if !known {
				if t.Extra == nil {
					t.Extra = map[string]json.RawMessage{}
				}
				t.Extra[string(key)] = raw[from:to:to]
			}
			if err != nil {
				return &FieldError{"header " + string(key), err}
			}
			return nil
		}
	})
	var named *FieldError
	if err != nil && !errors.As(err, &named) {
		err = &FieldError{"headers", err}
	}
	return err
}

// readHeader reads a header that is not null, and reports whether it is one of
// Celery's own.
func (t *Task) readHeader(key []byte, v string) (known bool, err error) {
	if p := t.textHeader(key); p != nil {
		*p, err = textOf(v)
		return true, err
	}
	switch string(key) {
	case "eta":
		t.ETA, err = readTime(json.RawMessage(v))
	case "expires":
		t.Expires, err = readTime(json.RawMessage(v))
	case "group_index":
		n := 0
		n, err = whole(v)
		t.GroupIndex = &n
	case "retries":
		t.Retries, err = count(v)
	case "timelimit":
		t.HardLimit, t.SoftLimit, err = readLimits(v)
	case "ignore_result":
		t.IgnoreResult, err = boolean(v)
		t.WantResult = v == "false"
	case "replaced_task_nesting":
		t.ReplacedTaskNesting, err = count(v)
	case "stamped_headers":
		t.StampedHeaders, err = texts([]byte(v))
	case "stamps":
		t.Stamps, err = readStamps(v)
	case "redelivered":
		t.Redelivered, err = boolean(v)
	default:
		return false, nil
	}
	return true, err
}

// textHeader returns where a header that is a string goes.
func (t *Task) textHeader(key []byte) *string {
	switch string(key) {
	case "lang":
		return &t.Lang
	case "task":
		return &t.Name
	case "id":
		return &t.ID
	case "shadow":
		return &t.Shadow
	case "group":
		return &t.Group
	case "root_id":
		return &t.RootID
	case "parent_id":
		return &t.ParentID
	case "argsrepr":
		return &t.ArgsRepr
	case "kwargsrepr":
		return &t.KwargsRepr
	case "origin":
		return &t.Origin
	case "compression":
		return &t.Compression
	}
	return nil
}

func readStamps(v string) (map[string]json.RawMessage, error) {
	if v == "{}" {
		return nil, nil
	}
	return object([]byte(v))
}

func (t *Task) readProperties(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	err := peerMembers(raw, func(raw []byte) func(key []byte, from, to int) error {
		t.Properties = nil
		return func(key []byte, from, to int) error {
			if err := t.readProperty(key, raw[from:to:to]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
	})
	if err != nil {
		return &FieldError{"properties", err}
	}
	return nil
}

func (t *Task) readProperty(key []byte, v json.RawMessage) (err error) {
	switch string(key) {
	case "reply_to":
		t.ReplyTo, err = optional(v)
	case "correlation_id":
		if t.CorrelationID, err = optional(v); t.CorrelationID == t.ID {
			t.CorrelationID = ""
		}
	case "priority":
		if !null(v) {
			t.Priority, err = whole(string(v))
		}
	case "delivery_mode", "delivery_info", "delivery_tag", "body_encoding", "expiration":
	default:
		if t.Properties == nil {
			t.Properties = map[string]json.RawMessage{}
		}
		t.Properties[string(key)] = v
	}
	return err
}

// DecodeBody reads arguments and embed. It may be called twice; after an error
// it gives the same again.
func (t *Task) DecodeBody() error {
	if !t.pending {
		return nil
	}
	raw, err := t.plainBody()
	if err != nil {
		return err
	}
	parts, err := elements(raw)
	if err != nil {
		return &FieldError{"body", err}
	}
	// celery/worker/request.py: older clients may leave the embed out.
	if len(parts) < 2 || len(parts) > 3 {
		return &FieldError{"body", fmt.Errorf("it has %d parts, want [args, kwargs, embed]", len(parts))}
	}
	args, err := elements(parts[0])
	if err != nil {
		return &FieldError{"body", fmt.Errorf("args: %w", err)}
	}
	kwargs, err := object(parts[1])
	if err != nil {
		return &FieldError{"body", fmt.Errorf("kwargs: %w", err)}
	}
	var embed Embed
	if len(parts) == 3 && !null(parts[2]) {
		if err := embed.read(parts[2]); err != nil {
			return &FieldError{"body", fmt.Errorf("embed: %w", err)}
		}
	}
	t.Args, t.Kwargs, t.Embed = args, kwargs, embed
	t.pending, t.body = false, nil
	return nil
}

// plainBody returns the body decompressed and checked.
func (t *Task) plainBody() ([]byte, error) {
	raw, err := decompress(t.body, t.Compression, t.limits.maxBody())
	if err == nil {
		raw, err = fromPeer(raw)
	}
	var unsupported *UnsupportedError
	if err != nil && !errors.As(err, &unsupported) {
		err = &FieldError{"body", err}
	}
	return raw, err
}

// textOf reads a JSON string as a part of v where nothing is escaped.
func textOf(v string) (string, error) {
	if len(v) >= 2 && v[0] == '"' && !escaped(v) {
		return v[1 : len(v)-1], nil
	}
	return text(v)
}

func count(v string) (int, error) {
	n, err := whole(v)
	if err == nil && n < 0 {
		err = errors.New("it is negative")
	}
	return n, err
}

// readLimits reads [hard, soft], seconds or null.
func readLimits(v string) (hard, soft time.Duration, err error) {
	if v == "[null, null]" || v == "[null,null]" {
		return 0, 0, nil
	}
	pair, err := elements([]byte(v))
	if err != nil {
		return 0, 0, err
	}
	if len(pair) != 2 {
		return 0, 0, fmt.Errorf("it has %d parts, want [hard, soft]", len(pair))
	}
	if hard, err = readSeconds(pair[0]); err == nil {
		soft, err = readSeconds(pair[1])
	}
	return hard, soft, err
}

// readSeconds reads a limit; null, none, and more than 30 years are no limit.
func readSeconds(raw json.RawMessage) (time.Duration, error) {
	if null(raw) {
		return 0, nil
	}
	s, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || raw[0] == '"' {
		return 0, errors.New("it is not a number of seconds")
	}
	if s <= 0 || s > 1e9 {
		return 0, nil
	}
	return time.Duration(s * float64(time.Second)), nil
}
