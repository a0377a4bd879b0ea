package celery

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Message writes the task as a message of protocol 2. Kwargs and headers are
// written in the order of their names.
func (t *Task) Message() (engine.Message, error) {
	if t.Name == "" || t.ID == "" {
		return engine.Message{}, errors.New("a task message needs a name and an id")
	}
	body, err := t.appendBody(nil)
	if err != nil {
		return engine.Message{}, err
	}
	m := engine.Message{
		ID: t.ID, Task: t.Name, ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: t.appendHeaders(make([]byte, 0, 512)), Properties: t.appendProperties(make([]byte, 0, 160)), Body: body,
	}
	if size := len(m.Headers) + len(m.Properties) + len(m.Body); size > engine.MaxMessage {
		return m, fmt.Errorf("the message has %d bytes, at most %d are carried: %w", size, engine.MaxMessage, engine.ErrLimit)
	}
	return m, nil
}

func (t *Task) appendHeaders(b []byte) []byte {
	lang := t.Lang
	if lang == "" {
		lang = "go"
	}
	root := t.RootID
	if root == "" {
		root = t.ID
	}
	b = appendString(append(b, `{"lang":`...), lang)
	b = appendString(append(b, `,"task":`...), t.Name)
	b = appendString(append(b, `,"id":`...), t.ID)
	b = appendOptional(append(b, `,"shadow":`...), t.Shadow)
	b = appendTime(append(b, `,"eta":`...), t.ETA)
	b = appendTime(append(b, `,"expires":`...), t.Expires)
	b = appendOptional(append(b, `,"group":`...), t.Group)
	b = append(b, `,"group_index":`...)
	if t.GroupIndex != nil {
		b = strconv.AppendInt(b, int64(*t.GroupIndex), 10)
	} else {
		b = append(b, "null"...)
	}
	b = strconv.AppendInt(append(b, `,"retries":`...), int64(t.Retries), 10)
	b = appendSeconds(append(b, `,"timelimit":[`...), t.HardLimit) // [hard, soft]
	b = append(appendSeconds(append(b, ','), t.SoftLimit), ']')
	b = appendString(append(b, `,"root_id":`...), root)
	b = appendOptional(append(b, `,"parent_id":`...), t.ParentID)
	if t.ArgsRepr != "" || t.KwargsRepr != "" {
		b = appendString(append(b, `,"argsrepr":`...), t.ArgsRepr)
		b = appendString(append(b, `,"kwargsrepr":`...), t.KwargsRepr)
	}
	b = appendString(append(b, `,"origin":`...), t.Origin)
	b = strconv.AppendBool(append(b, `,"ignore_result":`...), t.IgnoreResult)
	b = strconv.AppendInt(append(b, `,"replaced_task_nesting":`...), int64(t.ReplacedTaskNesting), 10)
	b = t.appendStamps(b)
	if t.Redelivered {
		b = append(b, `,"redelivered":true`...)
	}
	for _, k := range sortedKeys(t.Extra) {
		b = append(appendString(append(b, ','), k), ':')
		b = append(b, t.Extra[k]...)
	}
	return append(b, '}')
}

func (t *Task) appendStamps(b []byte) []byte {
	b = append(b, `,"stamped_headers":`...)
	if t.StampedHeaders == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, '[')
		for i, s := range t.StampedHeaders {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		b = append(b, ']')
	}
	return appendObject(append(b, `,"stamps":`...), t.Stamps)
}

func (t *Task) appendProperties(b []byte) []byte {
	b = appendString(append(b, `{"correlation_id":`...), t.ID)
	b = appendOptional(append(b, `,"reply_to":`...), t.ReplyTo)
	b = strconv.AppendInt(append(b, `,"delivery_mode":2,"priority":`...), int64(t.Priority), 10)
	return append(b, '}')
}

func (t *Task) appendBody(b []byte) ([]byte, error) {
	b = append(b, '[', '[')
	for i, a := range t.Args {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, unbare(a)...)
	}
	b = append(b, ']', ',')
	b = appendObject(b, t.Kwargs)
	e := &t.Embed
	if len(e.Callbacks)+len(e.Errbacks)+len(e.Chain) == 0 && e.Chord == nil {
		return append(b, `,{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]`...), nil
	}
	embed, err := json.Marshal(struct {
		Callbacks []Signature `json:"callbacks"`
		Errbacks  []Signature `json:"errbacks"`
		Chain     []Signature `json:"chain"`
		Chord     *Signature  `json:"chord"`
	}{orNil(e.Callbacks), orNil(e.Errbacks), orNil(e.Chain), e.Chord})
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	return append(append(append(b, ','), embed...), ']'), nil
}

func orNil(s []Signature) []Signature {
	if len(s) == 0 {
		return nil
	}
	return s
}

func appendObject(b []byte, m map[string]json.RawMessage) []byte {
	b = append(b, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendString(b, k), ':'), unbare(m[k])...)
	}
	return append(b, '}')
}

func sortedKeys(m map[string]json.RawMessage) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString writes a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			raw, err := json.Marshal(s)
			if err != nil { // a string always encodes
				return append(b, `""`...)
			}
			return append(b, raw...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// isoTime is how Python writes an aware datetime, with microseconds.
const isoTime = "2006-01-02T15:04:05.999999-07:00"

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, isoTime)
	return append(b, '"')
}

func appendSeconds(b []byte, d time.Duration) []byte {
	if d <= 0 {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, d.Seconds(), 'f', -1, 64)
}
