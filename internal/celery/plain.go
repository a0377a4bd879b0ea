package celery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// maxDepth bounds the nesting of a value with special types.
const maxDepth = 500

// Plain rewrites kombu's special types, anywhere in a value, to what
// encoding/json reads into time.Time (RFC 3339; a naive datetime counts as
// UTC), []byte (base64), strings and the types of this package. Values without
// any come back as they are.
//
// NaN and the infinities, which JSON lacks, come as strings of that name.
func Plain(raw json.RawMessage) (json.RawMessage, error) {
	raw = bytes.ReplaceAll(raw, []byte(bareMark), []byte{'"'})
	if !bytes.Contains(raw, []byte(`"__type__"`)) {
		return raw, nil
	}
	return plain(raw, 0)
}

func plain(raw json.RawMessage, depth int) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if depth > maxDepth {
		return nil, fmt.Errorf("the value is nested more than %d levels deep", maxDepth)
	}
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' || !bytes.Contains(raw, []byte(`"__type__"`)) {
		return raw, nil
	}
	if raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		for i := range list {
			var err error
			if list[i], err = plain(list[i], depth+1); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if out, ok, err := plainSpecial(m); ok || err != nil {
		return out, err
	}
	for k, v := range m {
		var err error
		if m[k], err = plain(v, depth+1); err != nil {
			return nil, err
		}
	}
	return json.Marshal(m)
}

// plainSpecial rewrites {"__type__": …, "__value__": …}; other objects, and
// types this version does not know, are not special.
func plainSpecial(m map[string]json.RawMessage) (json.RawMessage, bool, error) {
	value, ok := m["__value__"]
	if !ok || len(m) != 2 {
		return nil, false, nil
	}
	var kind, text string
	if json.Unmarshal(m["__type__"], &kind) != nil {
		return nil, false, nil
	}
	if kind == typeUUID {
		var u UUID
		whole, err := json.Marshal(m)
		if err == nil {
			err = u.UnmarshalJSON(whole)
		}
		return appendString(nil, u.String()), true, err
	}
	switch kind {
	case typeDateTime, typeDate, typeTime, typeDecimal, typeBytes, typeBase64:
	default:
		return nil, false, nil
	}
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, false, fmt.Errorf("a value of type %s: %w", kind, err)
	}
	switch kind {
	case typeDateTime:
		d, err := parseDateTime(text)
		if err != nil {
			return nil, false, err
		}
		return appendString(nil, d.Format("2006-01-02T15:04:05.999999999Z07:00")), true, nil
	case typeBytes:
		return appendString(nil, base64.StdEncoding.EncodeToString([]byte(text))), true, nil
	}
	return appendString(nil, text), true, nil
}
