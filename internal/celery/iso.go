package celery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// appendISO writes a time as Python's isoformat does: no fraction or one of
// six digits, and a naive one without an offset.
func appendISO(b []byte, t time.Time, naive bool) []byte {
	b = t.AppendFormat(b, "2006-01-02T15:04:05")
	if micro := t.Nanosecond() / 1000; micro != 0 {
		b = append(b, '.')
		for unit := 100_000; unit > 0; unit /= 10 {
			b = append(b, byte('0'+micro/unit%10))
		}
	}
	if naive {
		return b
	}
	_, offset := t.Zone()
	if offset < 0 {
		b, offset = append(b, '-'), -offset
	} else {
		b = append(b, '+')
	}
	b = append(append2(b, offset/3600), ':')
	b = append2(b, offset/60%60)
	if s := offset % 60; s != 0 { // a local mean time
		b = append2(append(b, ':'), s)
	}
	return b
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// checkYear refuses what Python's datetime cannot hold.
func checkYear(t time.Time) error {
	if y := t.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("the year %d is not one of 1 to 9999", y)
	}
	return nil
}

// parseISO reads what Python's fromisoformat reads in the extended form. A
// time without an offset is naive and comes in UTC.
func parseISO(s string) (t time.Time, naive bool, err error) {
	p := isoParser{s: s}
	year, month, day := p.num(4, 1, 9999), p.after('-', 1, 12), p.after('-', 1, 31)
	var hour, minute, second, nanos int
	zone := time.UTC
	naive = true
	if p.more() {
		if !p.take('T') && !p.take(' ') {
			p.bad = true
		}
		hour, minute, second, nanos = p.clock()
		if p.more() {
			zone, naive = p.zone(), false
		}
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone)
	if p.bad || p.more() || t.Day() != day || checkYear(t.UTC()) != nil {
		return time.Time{}, false, fmt.Errorf("%.40q is not an ISO 8601 time", s)
	}
	return t, naive, nil
}

// isoParser reads from the front of s; bad is sticky.
type isoParser struct {
	s   string
	bad bool
}

func (p *isoParser) more() bool { return !p.bad && p.s != "" }

func (p *isoParser) take(c byte) bool {
	if p.s == "" || p.s[0] != c {
		return false
	}
	p.s = p.s[1:]
	return true
}

// num reads n digits.
func (p *isoParser) num(n, least, most int) int {
	if p.bad || len(p.s) < n {
		p.bad = true
		return least
	}
	v := 0
	for i := range n {
		if !digit(p.s[i]) {
			p.bad = true
			return least
		}
		v = v*10 + int(p.s[i]-'0')
	}
	p.s = p.s[n:]
	p.bad = v < least || v > most
	return v
}

func (p *isoParser) after(c byte, least, most int) int {
	if !p.take(c) {
		p.bad = true
		return least
	}
	return p.num(2, least, most)
}

// clock reads HH:MM, HH:MM:SS or HH:MM:SS.ffffff.
func (p *isoParser) clock() (hour, minute, second, nanos int) {
	hour, minute = p.num(2, 0, 23), p.after(':', 0, 59)
	if p.take(':') {
		second = p.num(2, 0, 59)
		if p.take('.') || p.take(',') {
			nanos = p.fraction()
		}
	}
	return hour, minute, second, nanos
}

func (p *isoParser) fraction() int {
	n, unit, i := 0, 100_000_000, 0
	for ; i < len(p.s) && digit(p.s[i]); i++ {
		n, unit = n+int(p.s[i]-'0')*unit, unit/10
	}
	p.s, p.bad = p.s[i:], p.bad || i == 0
	return n
}

// zone reads Z, ±HH, ±HHMM, ±HH:MM or ±HH:MM:SS.
func (p *isoParser) zone() *time.Location {
	if p.take('Z') || p.take('z') {
		return time.UTC
	}
	sign := 1
	if p.take('-') {
		sign = -1
	} else if !p.take('+') {
		p.bad = true
		return time.UTC
	}
	offset := 3600 * p.num(2, 0, 23)
	if p.more() {
		colon := p.take(':')
		offset += 60 * p.num(2, 0, 59)
		if colon && p.take(':') {
			offset += p.num(2, 0, 59)
		}
	}
	if offset == 0 || p.bad {
		return time.UTC
	}
	return time.FixedZone("", sign*offset)
}

// readTime reads the time in a header; a naive one means UTC. In very old
// messages it is a number: seconds from now, or a Unix time if it is too large
// for that.
func readTime(raw json.RawMessage) (time.Time, error) {
	if len(raw) > 0 && raw[0] != '"' {
		seconds, err := strconv.ParseFloat(string(raw), 64)
		switch {
		case err != nil:
			return time.Time{}, errors.New("it is neither an ISO 8601 time nor a number of seconds")
		case seconds > 1e11 || seconds < -1e11:
			return time.Time{}, errors.New("it is too far away")
		case seconds >= 1e9:
			return time.UnixMicro(int64(seconds * 1e6)).UTC(), nil
		}
		return time.Now().Add(time.Duration(max(seconds, -1e9) * float64(time.Second))).UTC(), nil
	}
	s, err := text(raw)
	if err != nil {
		return time.Time{}, err
	}
	t, _, err := parseISO(s)
	if err == nil && t.IsZero() { // year 1: long past, and not none
		t = t.Add(time.Microsecond)
	}
	return t, err
}
