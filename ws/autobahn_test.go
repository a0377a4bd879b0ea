package ws

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// The cases of the Autobahn test suite, by its ids, for a server that echoes.
// Its bar is the close code or the drop; ours is the code, then the drop.

// autobahn is one case. After the frames are sent the server says want; then,
// with code 0, the client closes with 1000 and is answered in kind, else the
// server has closed with that code.
type autobahn struct {
	id     string
	frames []frame
	chop   int // bytes sent at once; 0 is all in one
	want   []string
	code   int
}

const (
	hello    = "Hello, world!"
	octets   = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	greek    = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
	pongWant = "pong "
)

func TestAutobahn(t *testing.T) {
	_, addr := serve(t, Options{MaxMessage: 16 << 20, Queue: 64 << 20}, echo)
	for _, cases := range [][]autobahn{sizes(), pings(), reserved(), opcodes(), fragments(), utf8Cases(), strictUTF8(), closes(), closeCodes(), big()} {
		for _, c := range cases {
			t.Run(c.id, func(t *testing.T) {
				t.Parallel()
				c.run(t, dial(t, addr))
			})
		}
	}
}

func (c autobahn) run(t *testing.T, p *peer) {
	t.Helper()
	p.chop = c.chop
	go p.send(c.frames...) // the server may answer before all is sent
	for _, want := range c.want {
		p.wants(want)
	}
	if c.code != 0 {
		p.wants(fmt.Sprintf("close %d…", c.code), "EOF")
		return
	}
	p.send(closeWith(1000, ""))
	p.wants("close 1000", "EOF")
}

func sizes() (out []autobahn) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		chop := 0
		if i == 7 {
			chop = 997
		}
		s := strings.Repeat("*", n)
		out = append(out,
			autobahn{fmt.Sprintf("1.1.%d", i+1), []frame{text(s)}, chop, []string{"text " + s}, 0},
			autobahn{fmt.Sprintf("1.2.%d", i+1), []frame{binaryFrame(strings.Repeat("\xfe", n))}, chop, []string{"binary " + strings.Repeat("\xfe", n)}, 0})
	}
	return out
}

func pings() []autobahn {
	long := strings.Repeat("\xfe", 125)
	var ten []frame
	var answers []string
	for i := range 10 {
		ten = append(ten, ping(fmt.Sprint("payload-", i)))
		answers = append(answers, fmt.Sprint("pong payload-", i))
	}
	return []autobahn{
		{"2.1", []frame{ping("")}, 0, []string{pongWant}, 0},
		{"2.2", []frame{ping(hello)}, 0, []string{pongWant + hello}, 0},
		{"2.3", []frame{ping(octets)}, 0, []string{pongWant + octets}, 0},
		{"2.4", []frame{ping(long)}, 0, []string{pongWant + long}, 0},
		{"2.5", []frame{ping(long + "\xfe")}, 0, nil, 1002},
		{"2.6", []frame{ping(long)}, 1, []string{pongWant + long}, 0},
		{"2.7", []frame{pong("")}, 0, nil, 0},
		{"2.8", []frame{pong("unsolicited")}, 0, nil, 0},
		{"2.9", []frame{pong("unsolicited"), ping("ping")}, 0, []string{"pong ping"}, 0},
		{"2.10", ten, 0, answers, 0},
		{"2.11", ten, 1, answers, 0},
	}
}

func reserved() []autobahn {
	with := func(f frame, rsv byte) frame {
		f.first |= rsv << 4
		return f
	}
	echoed := []string{"text " + hello}
	return []autobahn{
		{"3.1", []frame{with(text(hello), 4)}, 0, nil, 1002},
		{"3.2", []frame{text(hello), with(text(hello), 2), ping("")}, 0, echoed, 1002},
		{"3.3", []frame{text(hello), with(text(hello), 6), ping("")}, 19, echoed, 1002},
		{"3.4", []frame{text(hello), with(text(hello), 1), ping("")}, 1, echoed, 1002},
		{"3.5", []frame{with(binaryFrame(octets), 5)}, 0, nil, 1002},
		{"3.6", []frame{with(ping(hello), 3)}, 0, nil, 1002},
		{"3.7", []frame{with(closing(""), 7)}, 0, nil, 1002},
	}
}

func opcodes() (out []autobahn) {
	for group, from := range map[string]byte{"4.1": 3, "4.2": 11} {
		for i := range byte(5) {
			op := bitFin | (from + i)
			c := autobahn{id: fmt.Sprintf("%s.%d", group, i+1), code: 1002}
			switch i {
			case 0:
				c.frames = []frame{{op, ""}}
			case 1:
				c.frames = []frame{{op, "reserved opcode payload"}}
			case 2:
				c.frames, c.want = []frame{text(hello), {op, ""}, ping("")}, []string{"text " + hello}
			default:
				c.frames, c.want = []frame{text(hello), {op, hello}, ping("")}, []string{"text " + hello}
			}
			if i == 4 {
				c.chop = 1
			}
			out = append(out, c)
		}
	}
	return out
}

func fragments() []autobahn {
	const one, two, three, four = "fragment1", "fragment2", "fragment3", "fragment4"
	both := []string{"text " + one + two}
	between := []string{"pong ping payload", "text " + one + two}
	five := []frame{begin(one), more(two), ping("pongme 1!"), more(three), more(four), ping("pongme 2!"), last("fragment5")}
	answers := []string{"pong pongme 1!", "pong pongme 2!", "text " + one + two + three + four + "fragment5"}
	stray, strayLast := []frame{more("non-continuation payload"), text(hello)}, []frame{last("non-continuation payload"), text(hello)}
	twice := func(f frame) []frame {
		return []frame{f, begin(two), last(three), f, begin(two), last(three)}
	}
	return []autobahn{
		{"5.1", []frame{{opPing, one}, last(two)}, 0, nil, 1002},
		{"5.2", []frame{{opPong, one}, last(two)}, 0, nil, 1002},
		{"5.3", []frame{begin(one), last(two)}, 0, both, 0},
		{"5.4", []frame{begin(one), last(two)}, 15, both, 0},
		{"5.5", []frame{begin(one), last(two)}, 1, both, 0},
		{"5.6", []frame{begin(one), ping("ping payload"), last(two)}, 0, between, 0},
		{"5.7", []frame{begin(one), ping("ping payload"), last(two)}, 15, between, 0},
		{"5.8", []frame{begin(one), ping("ping payload"), last(two)}, 1, between, 0},
		{"5.9", strayLast, 0, nil, 1002},
		{"5.10", strayLast, 30, nil, 1002},
		{"5.11", strayLast, 1, nil, 1002},
		{"5.12", stray, 0, nil, 1002},
		{"5.13", stray, 30, nil, 1002},
		{"5.14", stray, 1, nil, 1002},
		{"5.15", []frame{begin(one), last(two), more(three), text(four)}, 0, both, 1002},
		{"5.16", twice(more(one)), 0, nil, 1002},
		{"5.17", twice(last(one)), 0, nil, 1002},
		{"5.18", []frame{begin(one), text(two)}, 0, nil, 1002},
		{"5.19", five, 0, answers, 0},
		{"5.20", five, 15, answers, 0},
	}
}

func utf8Cases() []autobahn {
	const mixed = "Hello-µ@ßöäüàá-UTF-8!!"
	bytesOf := func(s string) []frame {
		frames := []frame{begin(s[:1])}
		for i := 1; i < len(s); i++ {
			frames = append(frames, more(s[i:i+1]))
		}
		return append(frames, last(""))
	}
	bad := greek + "\xed\xa0\x80edited"
	const out = greek + "\xf4\x90\x80\x80" // beyond U+10FFFF, which its second byte tells
	return []autobahn{
		{"6.1.1", []frame{text("")}, 0, []string{"text "}, 0},
		{"6.1.2", []frame{begin(""), more(""), last("")}, 0, []string{"text "}, 0},
		{"6.1.3", []frame{begin(""), more("middle frame payload"), last("")}, 0, []string{"text middle frame payload"}, 0},
		{"6.2.1", []frame{text(mixed)}, 0, []string{"text " + mixed}, 0},
		{"6.2.2", []frame{begin(mixed[:14]), last(mixed[14:])}, 0, []string{"text " + mixed}, 0},
		{"6.2.3", bytesOf(mixed), 0, []string{"text " + mixed}, 0},
		{"6.2.4", bytesOf(greek), 0, []string{"text " + greek}, 0},
		{"6.3.1", []frame{text(bad)}, 0, nil, 1007},
		{"6.3.2", bytesOf(bad), 0, nil, 1007},
		// Fail fast: the rest of the message is never sent.
		{"6.4.1", []frame{begin(greek), more(out[len(greek):])}, 0, nil, 1007},
		{"6.4.2", []frame{begin(out[:12]), more(out[12:13])}, 0, nil, 1007},
	}
}

// TestAutobahnFailsFast is 6.4.3 and 6.4.4: one frame, of which only the part
// is sent that spoils it.
func TestAutobahnFailsFast(t *testing.T) {
	_, addr := serve(t, Options{}, echo)
	whole := text(greek + "\xf4\x90\x80\x80edited").masked()
	head := len(whole) - len(greek) - len("\xf4\x90\x80\x80edited")
	for id, upTo := range map[string]int{"6.4.3": len(greek) + 4, "6.4.4": len(greek) + 2} {
		t.Run(id, func(t *testing.T) {
			p := dial(t, addr)
			p.write(whole[:head+len(greek)])
			p.write(whole[head+len(greek) : head+upTo])
			p.wants("close 1007…", "EOF")
		})
	}
}

// strictUTF8 is 6.5 to 6.23, after Markus Kuhn's decoder test.
func strictUTF8() (out []autobahn) {
	for i, s := range []string{"hello\x24world", "hello\xC2\xA2world", "hello\xE2\x82\xACworld", "hello\xF0\xA4\xAD\xA2world", greek} {
		out = append(out, textCase(5, i, s, true))
	}
	for i := range len(greek) {
		whole := strings.Contains(" 2 5 7 9 11 ", fmt.Sprintf(" %d ", i+1))
		out = append(out, textCase(6, i, greek[:i+1], whole))
	}
	var continuation, all string
	for c := 0x80; c < 0xbf; c++ {
		continuation += string([]byte{byte(c)})
	}
	missing := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	all = strings.Join(missing, "")
	var lonely []string
	for _, span := range [][2]byte{{0xc0, 0xdf}, {0xe0, 0xef}, {0xf0, 0xf7}, {0xf8, 0xfb}, {0xfc, 0xfd}} {
		var b bytes.Buffer
		for c := span[0]; c < span[1]; c++ {
			b.Write([]byte{c, ' '})
		}
		lonely = append(lonely, b.String())
	}
	specials := []string{"\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf"}
	for _, group := range []struct {
		n     int
		valid bool
		texts []string
	}{
		{7, true, []string{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}},
		{8, false, []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
		{9, true, []string{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}},
		{10, false, []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
		{11, true, []string{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"}}, // and 6.11.5 below
		{12, false, []string{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", continuation}},
		{13, false, lonely},
		{14, false, missing},
		{15, false, []string{all}},
		{16, false, []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
		{17, false, []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}},
		{18, false, []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
		{19, false, []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}},
		{20, false, []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}},
		{21, false, []string{"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"}},
		{22, true, nonCharacters()},
		{23, true, specials},
	} {
		for i, s := range group.texts {
			out = append(out, textCase(group.n, i, s, group.valid))
		}
	}
	return append(out, textCase(11, 4, "\xf4\x90\x80\x80", false))
}

func textCase(group, i int, s string, valid bool) autobahn {
	c := autobahn{id: fmt.Sprintf("6.%d.%d", group, i+1), frames: []frame{text(s)}, code: 1007}
	if valid {
		c.want, c.code = []string{"text " + s}, 0
	}
	return c
}

func nonCharacters() []string {
	out := []string{"\xef\xbf\xbe", "\xef\xbf\xbf"}
	for plane := rune(1); plane <= 16; plane++ {
		out = append(out, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return out
}

func closes() []autobahn {
	reason := strings.Repeat("*", 123)
	done := func(id string, frames []frame, want ...string) autobahn {
		return autobahn{id, frames, 0, want[:len(want)-1], closeCode(want[len(want)-1])}
	}
	return []autobahn{
		done("7.1.1", []frame{text(hello), closeWith(1000, "")}, "text "+hello, "1000"),
		done("7.1.2", []frame{closeWith(1000, ""), closeWith(1000, "")}, "1000"),
		done("7.1.3", []frame{closeWith(1000, ""), ping("")}, "1000"),
		done("7.1.4", []frame{closeWith(1000, ""), text(hello)}, "1000"),
		done("7.1.5", []frame{begin("fragment1"), closeWith(1000, ""), last("fragment2")}, "1000"),
		done("7.1.6", []frame{text(strings.Repeat("BAsd7&jh23", 26215)), text(hello), closeWith(1000, ""), ping("")},
			"text "+strings.Repeat("BAsd7&jh23", 26215), "text "+hello, "1000"),
		done("7.3.2", []frame{closing("a")}, "1002"),
		done("7.3.3", []frame{closeWith(1000, "")}, "1000"),
		done("7.3.4", []frame{closeWith(1000, hello)}, "1000"),
		done("7.3.5", []frame{closeWith(1000, reason)}, "1000"),
		done("7.3.6", []frame{closeWith(1000, reason+"*")}, "1002"),
		done("7.5.1", []frame{closeWith(1000, greek+"\xed\xa0\x80edited")}, "1007"),
	}
}

func closeCode(s string) (code int) {
	_, _ = fmt.Sscan(s, &code) // the table is right
	return code
}

func closeCodes() (out []autobahn) {
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		out = append(out, autobahn{fmt.Sprintf("7.7.%d", i+1), []frame{closeWith(code, "")}, 0, nil, code})
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		out = append(out, autobahn{fmt.Sprintf("7.9.%d", i+1), []frame{closeWith(code, "")}, 0, nil, 1002})
	}
	return append(out,
		autobahn{"7.13.1", []frame{closeWith(5000, "")}, 0, nil, 1002},
		autobahn{"7.13.2", []frame{closeWith(65535, "")}, 0, nil, 1002})
}

// Test731 is the close frame without a code, which is answered without one.
func Test731(t *testing.T) {
	_, addr := serve(t, Options{}, echo)
	p := dial(t, addr)
	p.send(closing(""))
	p.wants("close", "EOF")
}

func big() (out []autobahn) {
	for i, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
		s := strings.Repeat("BAsd7&jh", n/8)
		out = append(out,
			autobahn{fmt.Sprintf("9.1.%d", i+1), []frame{text(s)}, 0, []string{"text " + s}, 0},
			autobahn{fmt.Sprintf("9.2.%d", i+1), []frame{binaryFrame(s)}, 0, []string{"binary " + s}, 0})
	}
	s := strings.Repeat("*", 4<<20)
	for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		out = append(out,
			autobahn{fmt.Sprintf("9.3.%d", i+1), cut(opText, s, n), 0, []string{"text " + s}, 0},
			autobahn{fmt.Sprintf("9.4.%d", i+1), cut(opBinary, s, n), 0, []string{"binary " + s}, 0})
	}
	s = s[:1<<20]
	for i, n := range []int{64, 128, 256, 512, 1024, 2048} {
		out = append(out,
			autobahn{fmt.Sprintf("9.5.%d", i+1), []frame{text(s)}, n, []string{"text " + s}, 0},
			autobahn{fmt.Sprintf("9.6.%d", i+1), []frame{binaryFrame(s)}, n, []string{"binary " + s}, 0})
	}
	return append(out, autobahn{"10.1.1", cut(opText, s[:65536], 1300), 0, []string{"text " + s[:65536]}, 0})
}

// cut is a message in fragments of n bytes.
func cut(op byte, s string, n int) (out []frame) {
	for at := 0; at < len(s); at += n {
		f := frame{op, s[at:min(at+n, len(s))]}
		if at > 0 {
			f.first = opContinuation
		}
		if at+n >= len(s) {
			f.first |= bitFin
		}
		out = append(out, f)
	}
	return out
}

// TestAutobahnRoundTrips is 9.7 and 9.8: a thousand messages, one after the
// other.
func TestAutobahnRoundTrips(t *testing.T) {
	_, addr := serve(t, Options{}, echo)
	for i, n := range []int{0, 16, 64, 256, 1024, 4096} {
		for group, op := range map[int]byte{7: opText, 8: opBinary} {
			t.Run(fmt.Sprintf("9.%d.%d", group, i+1), func(t *testing.T) {
				t.Parallel()
				p := dial(t, addr)
				s := strings.Repeat("*", n)
				for range 1000 {
					p.send(frame{bitFin | op, s})
					p.wants(map[byte]string{opText: "text ", opBinary: "binary "}[op] + s)
				}
				p.send(closeWith(1000, ""))
				p.wants("close 1000", "EOF")
			})
		}
	}
}
