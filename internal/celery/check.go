package celery

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep a peer's JSON may be nested. Python's own reader gives
// up near 1,000; a canvas takes three levels per step of nesting.
const maxDepth = 500

var (
	errNotUTF8 = errors.New("it is not valid UTF-8")
	errTooDeep = fmt.Errorf("it is nested more than %d levels deep", maxDepth)
)

// fromPeer checks text of a peer once, before it is scanned, and makes JSON of
// it: what Python writes bare is marked, and what looks like a mark is written
// in another way (see bare.go). It returns raw itself where there is neither.
func fromPeer(raw []byte) ([]byte, error) {
	c := checker{raw: raw}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.bare || c.marked {
		return mark(raw, appendUnlike), nil
	}
	return raw, nil
}

// peerMembers does the work of fromPeer and members in one pass. Where there
// is something to mark it calls again for the members of the marked text, of
// which raw then is a copy.
func peerMembers(raw []byte, again func(raw []byte) func(key []byte, from, to int) error) error {
	c := checker{raw: raw}
	err := c.members(again(raw))
	if err == nil && (c.bare || c.marked) {
		raw = mark(raw, appendUnlike)
		err = members(raw, again(raw))
	}
	return err
}

// ours does what fromPeer does for a value that this package may have made: its marks
// are marks.
func ours(raw []byte) ([]byte, error) {
	c := checker{raw: raw}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.bare {
		return mark(raw, func(b, s []byte) []byte { return append(b, s...) }), nil
	}
	return raw, nil
}

// checker validates JSON as Python writes it in one pass: RFC 8259 plus NaN,
// Infinity and -Infinity.
type checker struct {
	raw    []byte
	bare   bool // there is a bare word
	marked bool // there is a string that could be taken for a mark
	deep   bool
	end    int // where the trouble is
}

func (c *checker) check() error {
	if !utf8.Valid(c.raw) {
		return errNotUTF8
	}
	return c.result(c.value(space(c.raw, 0), 1))
}

// members checks an object and calls f for every member on the way, as the
// function members does for text that was checked before. f may have been
// called when an error is found.
func (c *checker) members(f func(key []byte, from, to int) error) error {
	if !utf8.Valid(c.raw) {
		return errNotUTF8
	}
	i := space(c.raw, 0)
	if i >= len(c.raw) || c.raw[i] != '{' {
		if err := c.result(c.value(i, 1)); err != nil {
			return err
		}
		return errNotObject
	}
	if i = space(c.raw, i+1); i < len(c.raw) && c.raw[i] == '}' {
		return c.result(i + 1)
	}
	for n := 1; ; n++ {
		if n > maxParts {
			return errTooMany
		}
		start, from := i, c.key(i)
		if from < 0 {
			return c.result(from)
		}
		to := c.value(from, 2)
		if to < 0 {
			return c.result(to)
		}
		key, err := keyOf(c.raw[start:stringEnd(c.raw, start)])
		if err == nil {
			err = f(key, from, to)
		}
		if err != nil {
			return err
		}
		var done bool
		if i, done = c.comma(to, '}'); done || i < 0 {
			return c.result(i)
		}
	}
}

// result makes an error of what is wrong with the text of which the value ends
// at i, or -1.
func (c *checker) result(i int) error {
	if i >= 0 {
		if i = space(c.raw, i); i == len(c.raw) {
			return nil
		}
		c.end = i
	}
	switch {
	case c.deep:
		return errTooDeep
	case c.end >= len(c.raw):
		return errors.New("it is not valid JSON: it ends too early")
	}
	return fmt.Errorf("it is not valid JSON: unexpected %q at byte %d", c.raw[c.end], c.end)
}

// fail notes the place; -1 travels up.
func (c *checker) fail(i int) int {
	c.end = i
	return -1
}

// value returns the index behind the value at i, or -1.
func (c *checker) value(i, depth int) int {
	if i >= len(c.raw) {
		return c.fail(i)
	}
	switch b := c.raw[i]; b {
	case '"':
		return c.text(i)
	case '{', '[':
		if depth > maxDepth {
			c.deep = true
			return c.fail(i)
		}
		if b == '{' {
			return c.object(i+1, depth)
		}
		return c.array(i+1, depth)
	case 't':
		return c.word(i, "true")
	case 'f':
		return c.word(i, "false")
	case 'n':
		return c.word(i, "null")
	case 'N', 'I':
		return c.bareWord(i)
	case '-':
		if i+1 < len(c.raw) && c.raw[i+1] == 'I' {
			return c.bareWord(i)
		}
		return c.number(i + 1)
	}
	return c.number(i)
}

func (c *checker) object(i, depth int) int {
	if i = space(c.raw, i); i < len(c.raw) && c.raw[i] == '}' {
		return i + 1
	}
	for done := false; ; {
		if i = c.key(i); i < 0 {
			return i
		}
		if i = c.value(i, depth+1); i < 0 {
			return i
		}
		if i, done = c.comma(i, '}'); done || i < 0 {
			return i
		}
	}
}

func (c *checker) array(i, depth int) int {
	if i = space(c.raw, i); i < len(c.raw) && c.raw[i] == ']' {
		return i + 1
	}
	for done := false; ; {
		if i = c.value(i, depth+1); i < 0 {
			return i
		}
		if i, done = c.comma(i, ']'); done || i < 0 {
			return i
		}
	}
}

// key goes over a member's name and colon.
func (c *checker) key(i int) int {
	if i >= len(c.raw) || c.raw[i] != '"' {
		return c.fail(i)
	}
	if i = c.text(i); i < 0 {
		return i
	}
	if i = space(c.raw, i); i >= len(c.raw) || c.raw[i] != ':' {
		return c.fail(i)
	}
	return space(c.raw, i+1)
}

// comma goes over what follows a value: a comma, or the end of the container.
func (c *checker) comma(i int, end byte) (_ int, done bool) {
	i = space(c.raw, i)
	switch {
	case i >= len(c.raw):
		return c.fail(i), false
	case c.raw[i] == end:
		return i + 1, true
	case c.raw[i] != ',':
		return c.fail(i), false
	}
	return space(c.raw, i+1), false
}

func (c *checker) text(start int) int {
	for i := start + 1; ; i++ {
		i = plainRun(c.raw, i, 0)
		if i >= len(c.raw) || c.raw[i] < ' ' {
			return c.fail(i)
		}
		if c.raw[i] == '"' {
			return i + 1
		}
		if i++; i >= len(c.raw) { // behind a backslash
			return c.fail(i)
		}
		switch c.raw[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if !hex4(c.raw, i+1) {
				return c.fail(i)
			}
			c.marked = c.marked || i == start+2 && c.raw[i+3] == '0' && c.raw[i+4] == '0'
			i += 4
		default:
			return c.fail(i)
		}
	}
}

func hex4(b []byte, i int) bool {
	if i+4 > len(b) {
		return false
	}
	for _, d := range b[i : i+4] {
		if !digit(d) && (d|0x20 < 'a' || d|0x20 > 'f') {
			return false
		}
	}
	return true
}

func (c *checker) word(i int, w string) int {
	if len(c.raw)-i < len(w) || string(c.raw[i:i+len(w)]) != w {
		return c.fail(i)
	}
	return i + len(w)
}

func (c *checker) bareWord(i int) int {
	w := bareWord(c.raw[i:])
	if w == "" {
		return c.fail(i)
	}
	c.bare = true
	return i + len(w)
}

// number returns the index behind the number whose first digit is at i.
func (c *checker) number(i int) int {
	first := i
	if i = c.digits(i); i < 0 || c.raw[first] == '0' && i > first+1 {
		return c.fail(first)
	}
	if i < len(c.raw) && c.raw[i] == '.' {
		if i = c.digits(i + 1); i < 0 {
			return i
		}
	}
	if i < len(c.raw) && c.raw[i]|0x20 == 'e' {
		if i++; i < len(c.raw) && (c.raw[i] == '+' || c.raw[i] == '-') {
			i++
		}
		return c.digits(i)
	}
	return i
}

func (c *checker) digits(i int) int {
	if i >= len(c.raw) || !digit(c.raw[i]) {
		return c.fail(i)
	}
	for i < len(c.raw) && digit(c.raw[i]) {
		i++
	}
	return i
}

func digit(b byte) bool { return '0' <= b && b <= '9' }
