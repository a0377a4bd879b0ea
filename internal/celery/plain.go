package celery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Plain rewrites kombu's special types, anywhere in a value, to what
// encoding/json reads into time.Time (RFC 3339; a naive datetime counts as
// UTC), []byte (base64), strings and the types of this package. Types this
// version does not know, and values without any, come back as they are.
//
// NaN and the infinities, which JSON lacks, come as strings of that name; use
// [Unmarshal] to read them into floats.
func Plain(raw json.RawMessage) (json.RawMessage, error) {
	data, err := ours(raw)
	if err != nil {
		return nil, err
	}
	return plain(named(data), "Z")
}

// unknownOffset is RFC 3339's for a time whose zone is not known (4.3). It is
// UTC to a time.Time, and naive to a DateTime.
const unknownOffset = "-00:00"

// plain rewrites special types in valid JSON. A naive datetime gets that
// offset.
func plain(raw []byte, naive string) ([]byte, error) {
	if !bytes.Contains(raw, []byte(`"__type__"`)) {
		return raw, nil
	}
	p := plainer{raw: raw, out: make([]byte, 0, len(raw)), naive: naive}
	end, err := p.value(space(raw, 0))
	return append(p.out, raw[end:]...), err
}

// plainer copies valid JSON to out and rewrites on the way. What lies between
// two values is copied as it is.
type plainer struct {
	raw, out []byte
	naive    string // the offset of naive datetimes
}

// value copies the value at i and returns the index behind it.
func (p *plainer) value(i int) (int, error) {
	switch {
	case i >= len(p.raw):
		return i, nil
	case p.raw[i] == '[':
		return p.container(i, false)
	case p.raw[i] == '{':
		end, done, err := p.special(i)
		if done || err != nil {
			return end, err
		}
		return p.container(i, true)
	}
	end := valueEnd(p.raw, i)
	p.out = append(p.out, p.raw[i:end]...)
	return end, nil
}

func (p *plainer) container(i int, keys bool) (_ int, err error) {
	start := i
	for i = space(p.raw, i+1); i < len(p.raw) && p.raw[i] != '}' && p.raw[i] != ']'; i = next(p.raw, i) {
		if keys {
			i = min(space(p.raw, space(p.raw, stringEnd(p.raw, i))+1), len(p.raw))
		}
		p.out = append(p.out, p.raw[start:i]...)
		if i, err = p.value(i); err != nil {
			return i, err
		}
		start = i
	}
	i = min(i+1, len(p.raw))
	p.out = append(p.out, p.raw[start:i]...)
	return i, nil
}

// special rewrites the object at i if it is {"__type__": …, "__value__": …}.
// kombu/utils/json.py object_hook: these two keys and no other.
func (p *plainer) special(i int) (end int, done bool, err error) {
	first := p.raw[space(p.raw, i+1):]
	if !bytes.HasPrefix(first, []byte(`"__type__"`)) && !bytes.HasPrefix(first, []byte(`"__value__"`)) {
		return i, false, nil
	}
	end = valueEnd(p.raw, i)
	m, err := object(p.raw[i:end])
	if err != nil || len(m) != 2 || m["__value__"] == nil {
		return end, false, err
	}
	kind, err := text(m["__type__"])
	if err != nil {
		return end, false, nil
	}
	s, known, err := plainText(kind, m["__value__"], p.naive)
	if err != nil {
		return end, false, fmt.Errorf("a value of type %s: %w", kind, err)
	}
	if known {
		p.out = appendString(p.out, s)
	}
	return end, known, nil
}

// plainText returns a special value as encoding/json reads it from a string.
func plainText(kind string, value json.RawMessage, naive string) (s string, known bool, err error) {
	switch kind {
	case typeDateTime, typeDate, typeTime, typeDecimal, typeBytes, typeBase64:
		if s, err = text(value); err != nil {
			return "", true, err
		}
	case typeUUID:
		u, err := parseUUIDValue(value)
		return u.String(), true, err
	default:
		return "", false, nil
	}
	switch kind {
	case typeDateTime:
		t, zoneless, err := parseISO(s)
		if zoneless && err == nil {
			return t.Format("2006-01-02T15:04:05.999999999") + naive, true, nil
		}
		if _, offset := t.Zone(); offset%60 != 0 { // RFC 3339 has no seconds there
			t = t.UTC()
		}
		return t.Format(time.RFC3339Nano), true, err
	case typeBytes:
		return base64.StdEncoding.EncodeToString([]byte(s)), true, nil
	case typeBase64:
		// Python's reader passes over what is not of the alphabet.
		return strings.NewReplacer("\n", "", "\r", "", " ", "").Replace(s), true, nil
	}
	return s, true, nil
}
