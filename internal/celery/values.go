package celery

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kombu's special types. kombu/utils/json.py register_type.
const (
	typeDateTime = "datetime"
	typeDate     = "date"
	typeTime     = "time"
	typeDecimal  = "decimal"
	typeUUID     = "uuid"
	typeBytes    = "bytes"  // value is text
	typeBase64   = "base64" // value is base64
)

// DateTime is Python's datetime. Naive ones have no zone; their Time is in UTC.
type DateTime struct {
	time.Time
	Naive bool
}

// Date is Python's date.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// TimeOfDay is Python's time, without a zone, since midnight.
type TimeOfDay time.Duration

// Decimal is Python's Decimal as text, exact.
type Decimal string

// UUID is Python's UUID.
type UUID [16]byte

// Bytes is Python's bytes.
type Bytes []byte

type special struct {
	Type  string          `json:"__type__"`
	Value json.RawMessage `json:"__value__"`
}

func appendSpecial(kind, value string) []byte {
	b := append([]byte(`{"__type__":"`), kind...)
	b = appendString(append(b, `","__value__":`...), value)
	return append(b, '}')
}

// plainText reads a special value of one of the kinds, or a plain string.
func plainText(data []byte, kinds ...string) (text, kind string, err error) {
	if json.Unmarshal(data, &text) == nil {
		return text, "", nil
	}
	var s special
	if err := json.Unmarshal(data, &s); err != nil {
		return "", "", err
	}
	for _, k := range kinds {
		if s.Type == k {
			return text, k, json.Unmarshal(s.Value, &text)
		}
	}
	return "", "", fmt.Errorf("want %s, got %q", kinds[0], s.Type)
}

// MarshalJSON writes kombu's form.
func (d DateTime) MarshalJSON() ([]byte, error) { return appendSpecial(typeDateTime, d.iso()), nil }

func (d DateTime) iso() string {
	if d.Naive {
		return d.Format("2006-01-02T15:04:05.999999")
	}
	return d.Format(isoTime)
}

// UnmarshalJSON reads kombu's form or ISO 8601.
func (d *DateTime) UnmarshalJSON(data []byte) error {
	text, _, err := plainText(data, typeDateTime)
	if err == nil {
		*d, err = parseDateTime(text)
	}
	return err
}

func parseDateTime(s string) (DateTime, error) {
	s = strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return DateTime{Time: t}, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return DateTime{Time: t, Naive: true}, nil
		}
	}
	return DateTime{}, fmt.Errorf("%.40q is not an ISO 8601 time", s)
}

// MarshalJSON writes kombu's form.
func (d Date) MarshalJSON() ([]byte, error) {
	return appendSpecial(typeDate, fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)), nil
}

// UnmarshalJSON reads kombu's form or ISO 8601.
func (d *Date) UnmarshalJSON(data []byte) error {
	text, _, err := plainText(data, typeDate)
	if err != nil {
		return err
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return fmt.Errorf("%.40q is not an ISO 8601 date", text)
	}
	d.Year, d.Month, d.Day = t.Date()
	return nil
}

// MarshalJSON writes kombu's form.
func (t TimeOfDay) MarshalJSON() ([]byte, error) {
	clock := time.Time{}.Add(time.Duration(t))
	return appendSpecial(typeTime, clock.Format("15:04:05.999999")), nil
}

// UnmarshalJSON reads kombu's form or ISO 8601.
func (t *TimeOfDay) UnmarshalJSON(data []byte) error {
	text, _, err := plainText(data, typeTime)
	if err != nil {
		return err
	}
	clock, err := time.Parse("15:04:05.999999999", text)
	if err != nil {
		return fmt.Errorf("%.40q is not an ISO 8601 time of day", text)
	}
	h, m, s := clock.Clock()
	*t = TimeOfDay(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(clock.Nanosecond()))
	return nil
}

// MarshalJSON writes kombu's form.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if d == "" {
		d = "0"
	}
	return appendSpecial(typeDecimal, string(d)), nil
}

// UnmarshalJSON reads kombu's form, a string or a number.
func (d *Decimal) UnmarshalJSON(data []byte) error {
	var n json.Number
	if json.Unmarshal(data, &n) == nil && n != "" {
		*d = Decimal(n)
		return nil
	}
	text, _, err := plainText(data, typeDecimal)
	*d = Decimal(text)
	return err
}

// String is the form with dashes.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// MarshalJSON writes kombu's form, {"hex": …}.
func (u UUID) MarshalJSON() ([]byte, error) {
	return []byte(`{"__type__":"uuid","__value__":{"hex":"` + hex.EncodeToString(u[:]) + `"}}`), nil
}

// UnmarshalJSON reads kombu's form or a string.
func (u *UUID) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		var s struct {
			Type  string `json:"__type__"`
			Value struct {
				Hex string `json:"hex"`
			} `json:"__value__"`
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Type != typeUUID {
			return errors.New("want a uuid")
		}
		text = s.Value.Hex
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != len(u) {
		return fmt.Errorf("%.40q is not a uuid", text)
	}
	copy(u[:], raw)
	return nil
}

// MarshalJSON writes kombu's form: text if it is UTF-8, else base64.
// kombu/utils/json.py _as_bytes.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return appendSpecial(typeBytes, string(b)), nil
	}
	return appendSpecial(typeBase64, base64.StdEncoding.EncodeToString(b)), nil
}

// UnmarshalJSON reads kombu's forms or a base64 string.
func (b *Bytes) UnmarshalJSON(data []byte) (err error) {
	text, kind, err := plainText(data, typeBytes, typeBase64)
	if err != nil {
		return err
	}
	if kind == typeBytes {
		*b = []byte(text)
		return nil
	}
	*b, err = base64.StdEncoding.DecodeString(text)
	return err
}
