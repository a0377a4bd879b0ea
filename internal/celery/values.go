package celery

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kombu's special types. kombu/utils/json.py register_type. To read null into
// one changes nothing, as with the types of encoding/json.
const (
	typeDateTime = "datetime"
	typeDate     = "date"
	typeTime     = "time"
	typeDecimal  = "decimal"
	typeUUID     = "uuid"
	typeBytes    = "bytes"  // value is text
	typeBase64   = "base64" // value is base64
)

// DateTime is Python's datetime. Naive ones have no zone; their Time is in
// UTC. Python keeps microseconds and the years 1 to 9999; other years are an
// error on the way out.
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

// TimeOfDay is Python's time, without a zone, since midnight: from 0 to below
// 24 hours. Python keeps microseconds.
type TimeOfDay time.Duration

// Decimal is Python's Decimal as text, exact. The empty one is 0.
type Decimal string

// UUID is Python's UUID.
type UUID [16]byte

// Bytes is Python's bytes.
type Bytes []byte

func appendSpecial(b []byte, kind, value string) []byte {
	b = append(append(b, `{"__type__":"`...), kind...)
	b = appendString(append(b, `","__value__":`...), value)
	return append(b, '}')
}

// readSpecial reads a special value of one of the kinds, or a plain string, of
// which the kind is "".
func readSpecial(data []byte, kinds ...string) (s, kind string, err error) {
	if s, err = text(data); err == nil {
		return s, "", nil
	}
	m, err := object(data)
	if err != nil {
		return "", "", fmt.Errorf("want %s", kinds[0])
	}
	kind, err = text(m["__type__"])
	for _, k := range kinds {
		if err == nil && k == kind {
			s, err = text(m["__value__"])
			return s, k, err
		}
	}
	return "", "", fmt.Errorf("want %s, got %.40q", kinds[0], kind)
}

func appendDateTime(b []byte, t time.Time, naive bool) ([]byte, error) {
	if err := checkYear(t); err != nil {
		return nil, fmt.Errorf("datetime: %w", err)
	}
	b = append(b, `{"__type__":"datetime","__value__":"`...)
	return append(appendISO(b, t, naive), `"}`...), nil
}

// MarshalJSON writes kombu's form.
func (d DateTime) MarshalJSON() ([]byte, error) { return appendDateTime(nil, d.Time, d.Naive) }

// UnmarshalJSON reads kombu's form or ISO 8601.
func (d *DateTime) UnmarshalJSON(data []byte) error {
	if null(data) {
		return nil
	}
	s, kind, err := readSpecial(data, typeDateTime)
	if err != nil {
		return err
	}
	if naive, ok := strings.CutSuffix(s, unknownOffset); ok && kind == "" { // as Unmarshal rewrites it
		s = naive
	}
	d.Time, d.Naive, err = parseISO(s)
	return err
}

// MarshalJSON writes kombu's form. A day that does not exist is an error.
func (d Date) MarshalJSON() ([]byte, error) {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
	if err := checkYear(t); err != nil || t.Day() != d.Day || t.Month() != d.Month {
		return nil, fmt.Errorf("%d-%d-%d is not a date", d.Year, d.Month, d.Day)
	}
	return appendSpecial(nil, typeDate, t.Format(time.DateOnly)), nil
}

// UnmarshalJSON reads kombu's form or ISO 8601; a time of day is dropped, as
// Python does.
func (d *Date) UnmarshalJSON(data []byte) error {
	if null(data) {
		return nil
	}
	s, _, err := readSpecial(data, typeDate)
	if err != nil {
		return err
	}
	t, _, err := parseISO(s)
	if err != nil {
		return fmt.Errorf("%.40q is not an ISO 8601 date", s)
	}
	d.Year, d.Month, d.Day = t.Date()
	return nil
}

// MarshalJSON writes kombu's form.
func (t TimeOfDay) MarshalJSON() ([]byte, error) {
	if t < 0 || time.Duration(t) >= 24*time.Hour {
		return nil, fmt.Errorf("%v is not a time of day", time.Duration(t))
	}
	iso := appendISO(nil, time.Time{}.Add(time.Duration(t)), true)
	return appendSpecial(nil, typeTime, string(iso[len("0001-01-01T"):])), nil
}

// UnmarshalJSON reads kombu's form or ISO 8601. A time with a zone is an
// error.
func (t *TimeOfDay) UnmarshalJSON(data []byte) error {
	if null(data) {
		return nil
	}
	s, _, err := readSpecial(data, typeTime)
	if err != nil {
		return err
	}
	p := isoParser{s: s}
	h, m, sec, ns := p.clock()
	if p.bad || p.s != "" {
		return fmt.Errorf("%.40q is not an ISO 8601 time of day without a zone", s)
	}
	*t = TimeOfDay(time.Duration((h*60+m)*60+sec)*time.Second + time.Duration(ns))
	return nil
}

// MarshalJSON writes kombu's form. What Python's Decimal does not read is an
// error, for there it would cost the whole message.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if d == "" {
		d = "0"
	}
	if !d.valid() {
		return nil, fmt.Errorf("%.40q is not a decimal", string(d))
	}
	return appendSpecial(nil, typeDecimal, string(d)), nil
}

// UnmarshalJSON reads kombu's form, a string or a number.
func (d *Decimal) UnmarshalJSON(data []byte) error {
	if null(data) {
		return nil
	}
	s := string(data)
	if len(data) > 0 && (data[0] == '"' || data[0] == '{') {
		var err error
		if s, _, err = readSpecial(data, typeDecimal); err != nil {
			return err
		}
	}
	if !Decimal(s).valid() {
		return fmt.Errorf("%.40q is not a decimal", s)
	}
	*d = Decimal(s)
	return nil
}

// valid knows the grammar of Python's decimal.Decimal, without its underscores
// and digits of other scripts.
func (d Decimal) valid() bool {
	s := strings.ToLower(strings.TrimLeft(string(d), "+-"))
	if len(d)-len(s) > 1 {
		return false
	}
	switch s {
	case "nan", "snan", "inf", "infinity":
		return true
	}
	s, exp, hasExp := strings.Cut(s, "e")
	if hasExp {
		exp = strings.TrimPrefix(strings.TrimPrefix(exp, "-"), "+")
		if exp == "" || strings.Trim(exp, "0123456789") != "" {
			return false
		}
	}
	left, right, _ := strings.Cut(s, ".")
	return left+right != "" && strings.Trim(left+right, "0123456789") == ""
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
	if null(data) {
		return nil
	}
	s, err := text(data)
	if err == nil {
		*u, err = parseUUID(s)
		return err
	}
	m, err := object(data)
	if err != nil || string(m["__type__"]) != `"uuid"` {
		return errors.New("want a uuid")
	}
	*u, err = parseUUIDValue(m["__value__"])
	return err
}

// parseUUIDValue reads {"hex": …}; a version beside it says nothing more.
func parseUUIDValue(raw []byte) (UUID, error) {
	m, err := object(raw)
	if err != nil {
		return UUID{}, err
	}
	s, err := text(m["hex"])
	if err != nil {
		return UUID{}, fmt.Errorf("hex: %w", err)
	}
	return parseUUID(s)
}

func parseUUID(s string) (u UUID, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(u) {
		return u, fmt.Errorf("%.40q is not a uuid", s)
	}
	return UUID(raw), nil
}

// MarshalJSON writes kombu's form: text if it is UTF-8, else base64.
// kombu/utils/json.py JSONEncoder.default.
func (b Bytes) MarshalJSON() ([]byte, error) { return appendBytes(nil, b), nil }

func appendBytes(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return appendSpecial(dst, typeBytes, string(b))
	}
	return appendSpecial(dst, typeBase64, base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads kombu's forms or a base64 string.
func (b *Bytes) UnmarshalJSON(data []byte) (err error) {
	if null(data) {
		return nil
	}
	s, kind, err := readSpecial(data, typeBytes, typeBase64)
	if err != nil {
		return err
	}
	if kind == typeBytes {
		*b = []byte(s)
		return nil
	}
	*b, err = base64.StdEncoding.DecodeString(s)
	return err
}
