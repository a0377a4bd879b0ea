package celery

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Message writes the task as a message of protocol 2. Kwargs and headers are
// written in the order of their names. A body that was not decoded goes out as
// it came. The error wraps [engine.ErrLimit] if the message is larger than
// engines carry.
func (t *Task) Message() (engine.Message, error) {
	if t.Name == "" || t.ID == "" {
		return engine.Message{}, errors.New("a task message needs a name and an id")
	}
	if err := t.checkHeaders(); err != nil {
		return engine.Message{}, err
	}
	body, compression, err := t.encodedBody()
	if err != nil {
		return engine.Message{}, err
	}
	// One allocation for both: they live as long as the message.
	buf := make([]byte, 0, 640+len(t.ArgsRepr)+len(t.KwargsRepr))
	buf = t.appendHeaders(buf, compression)
	n := len(buf)
	buf = t.appendProperties(buf)
	m := engine.Message{
		ID: t.ID, Task: t.Name, ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: buf[:n:n], Properties: buf[n:], Body: body,
	}
	if size := len(m.Headers) + len(m.Properties) + len(m.Body); size > engine.MaxMessage {
		return m, fmt.Errorf("the message has %d bytes, at most %d are carried: %w", size, engine.MaxMessage, engine.ErrLimit)
	}
	return m, nil
}

// checkHeaders refuses what a Python worker could not read.
func (t *Task) checkHeaders() error {
	for k := range t.Extra {
		if ownHeader(k) {
			return &FieldError{"header " + k, errors.New("it is Celery's own and cannot be set as an extra one")}
		}
	}
	if !t.ETA.IsZero() {
		if err := checkYear(t.ETA.UTC()); err != nil {
			return &FieldError{"header eta", err}
		}
	}
	if !t.Expires.IsZero() {
		if err := checkYear(t.Expires.UTC()); err != nil {
			return &FieldError{"header expires", err}
		}
	}
	return nil
}

// ownHeader reports whether Task has a field for the header.
func ownHeader(k string) bool {
	switch k {
	case "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit",
		"root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result",
		"replaced_task_nesting", "stamped_headers", "stamps", "redelivered", "compression":
		return true
	}
	return false
}

func (t *Task) appendHeaders(b []byte, compression string) []byte {
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
	b = appendInt(append(b, `,"group_index":`...), t.GroupIndex)
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
	b = append(b, `,"ignore_result":`...)
	if t.IgnoreResult || t.WantResult {
		b = strconv.AppendBool(b, t.IgnoreResult)
	} else {
		b = append(b, "null"...) // celery/app/task.py get_actual_ignore_result: the task decides
	}
	b = strconv.AppendInt(append(b, `,"replaced_task_nesting":`...), int64(t.ReplacedTaskNesting), 10)
	b = append(b, `,"stamped_headers":`...)
	if t.StampedHeaders == nil {
		b = append(b, "null"...)
	} else {
		b = appendTexts(b, t.StampedHeaders)
	}
	b = appendObject(append(b, `,"stamps":`...), t.Stamps)
	if t.Redelivered {
		b = append(b, `,"redelivered":true`...)
	}
	if compression != "" {
		b = appendString(append(b, `,"compression":`...), compression)
	}
	return append(appendMembers(b, t.Extra), '}')
}

func (t *Task) appendProperties(b []byte) []byte {
	correlation := t.CorrelationID
	if correlation == "" {
		correlation = t.ID
	}
	b = appendString(append(b, `{"correlation_id":`...), correlation)
	b = appendOptional(append(b, `,"reply_to":`...), t.ReplyTo)
	b = strconv.AppendInt(append(b, `,"delivery_mode":2,"priority":`...), int64(t.Priority), 10)
	return append(appendMembers(b, t.Properties), '}')
}

// encodedBody returns the body and the compression it is in.
func (t *Task) encodedBody() ([]byte, string, error) {
	if t.pending {
		return t.body, t.Compression, nil
	}
	size := 80
	for _, a := range t.Args {
		size += len(a) + 1
	}
	for k, v := range t.Kwargs {
		size += len(k) + len(v) + 4
	}
	body := t.appendBody(make([]byte, 0, size))
	if t.Compression == "" {
		return body, "", nil
	}
	return compress(body, t.Compression)
}

func (t *Task) appendBody(b []byte) []byte {
	b = appendList(append(b, '['), t.Args)
	b = appendObject(append(b, ','), t.Kwargs)
	return append(t.Embed.append(append(b, ',')), ']')
}
