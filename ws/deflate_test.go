package ws

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"

	"github.com/rhubarb-go/rhubarb/channels"
)

// corpora are texts and bytes as one meets them: prose, JSON, HTML and what is
// compressed already.
func corpora() map[string]string {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the quick brown fox jumps over a lazy dog while rhubarb murmurs on stage äöü and 東京 waits")
	var prose, json, html, noise strings.Builder
	for prose.Len() < 132<<10 {
		fmt.Fprintf(&prose, "%s ", words[r.IntN(len(words))])
		fmt.Fprintf(&json, `{"id":%d,"name":%q,"tags":[%d,null,true]},`, r.IntN(1e6), words[r.IntN(len(words))], r.IntN(99))
		fmt.Fprintf(&html, `<li class="x%d"><a href="/%x">%s</a></li>`, r.IntN(9), r.IntN(1e6), words[r.IntN(len(words))])
	}
	sum := sha256.Sum256(nil)
	for noise.Len() < 132<<10 {
		sum = sha256.Sum256(sum[:])
		noise.Write(sum[:])
	}
	return map[string]string{"json": json.String(), "noise": noise.String(), "prose": prose.String(), "html": html.String(),
		"hex": hex.EncodeToString([]byte(noise.String()))}
}

// The offers of Autobahn's group 13, by its case/case12_x_x.py.
var offers = []struct{ id, offer, answer string }{
	{"13.1", "permessage-deflate", ""},
	{"13.2", "permessage-deflate; server_no_context_takeover; client_max_window_bits", ""},
	{"13.3", "permessage-deflate; server_max_window_bits=8; client_max_window_bits", "; server_max_window_bits=8"},
	{"13.4", "permessage-deflate; server_max_window_bits=15; client_max_window_bits", "; server_max_window_bits=15"},
	{"13.5", "permessage-deflate; server_no_context_takeover; server_max_window_bits=8", "; server_max_window_bits=8"},
	{"13.6", "permessage-deflate; server_no_context_takeover; server_max_window_bits=15", "; server_max_window_bits=15"},
	{"13.7", "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, permessage-deflate; server_no_context_takeover, permessage-deflate", "; server_max_window_bits=8"},
}

// messageSizes are those of groups 12 and 13, by the last number of a case's
// id: the size of a message, and of its fragments, if it has any.
var messageSizes = []struct{ n, cut int }{
	{16, 0}, {64, 0}, {256, 0}, {1024, 0}, {4096, 0}, {8192, 0}, {16384, 0}, {32768, 0}, {65536, 0}, {131072, 0},
	{8192, 256}, {16384, 256}, {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768},
}

// repeats is how many messages a case has; Autobahn's have a thousand.
const repeats = 3

const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// TestAutobahnCompression is groups 12, each kind of data under one offer, and
// 13, one kind of data under each offer.
func TestAutobahnCompression(t *testing.T) {
	_, addr := serve(t, Options{Compress: true, CompressMin: 1, MaxMessage: 256 << 10}, echo)
	texts := corpora()
	for i, kind := range []string{"json", "noise", "prose", "html", "hex"} {
		compressionCases(t, addr, fmt.Sprintf("12.%d", i+1), offers[0].offer, offers[0].answer, texts[kind])
	}
	for _, o := range offers {
		compressionCases(t, addr, o.id, o.offer, o.answer, texts["json"])
	}
	for _, o := range []struct{ offer, answer string }{
		{`x-webkit-deflate-frame, permessage-deflate; client_max_window_bits="12"`, ""},
		{"permessage-deflate; server_max_window_bits=7, permessage-deflate; wrong, permessage-deflate", ""},
	} {
		compressionCases(t, addr, "other offers", o.offer, o.answer, texts["html"])
	}
}

func compressionCases(t *testing.T, addr, group, offer, answer, data string) {
	for i, size := range messageSizes {
		t.Run(fmt.Sprintf("%s.%d", group, i+1), func(t *testing.T) {
			t.Parallel()
			p := dial(t, addr, "Sec-WebSocket-Extensions: "+offer)
			if got := p.resp.Header.Get("Sec-WebSocket-Extensions"); got != agreed+answer {
				t.Fatalf("agreed on %q, want %q", got, agreed+answer)
			}
			for at := range repeats {
				s := data[at*size.n%1024:][:size.n-at]
				op, want := byte(opText), "text "
				if !utf8.ValidString(s) {
					op, want = opBinary, "binary "
				}
				p.sendPacked(op, s, size.cut)
				p.wants(want + s)
			}
			p.sendPacked(opText, "", 0)
			p.wants("text ")
			p.send(closeWith(1000, ""))
			p.wants("close 1000", "EOF")
		})
	}
}

func pack(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = w.Write([]byte(s))
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), tail)
}

// sendPacked sends a compressed message, in fragments of n bytes unless n is 0.
func (p *peer) sendPacked(op byte, s string, n int) {
	p.t.Helper()
	packed := pack(p.t, s)
	if n == 0 {
		n = max(len(packed), 1)
	}
	frames := cut(op, packed, n)
	frames[0].first |= bitRSV1
	p.send(frames...)
}

func TestOffersThatCannotBeMetAreDeclined(t *testing.T) {
	for _, offer := range []string{
		"permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=08", "permessage-deflate; server_max_window_bits",
		"permessage-deflate; client_max_window_bits=0", "permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "permessage-deflate; unknown",
		"permessage-deflate;", "deflate-frame", "",
	} {
		if a := agree([]string{offer}); a != (agreement{}) {
			t.Errorf("%q was agreed to: %+v", offer, a)
		}
	}
}

func TestSmallMessagesAndOnesNotAskedForAreNotCompressed(t *testing.T) {
	_, addr := serve(t, Options{Compress: true}, echo)
	long := strings.Repeat("*", 1000)
	for _, tt := range []struct {
		name, header, s string
		packed          bool
	}{
		{"long", "Sec-WebSocket-Extensions: permessage-deflate", long, true},
		{"short", "Sec-WebSocket-Extensions: permessage-deflate", "short", false},
		{"not offered", "X-Nothing: here", long, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := dial(t, addr, tt.header)
			p.send(text(tt.s))
			if _, _, packed, err := p.next(); err != nil || packed != tt.packed {
				t.Errorf("compressed: %v (%v), want %v", packed, err, tt.packed)
			}
		})
	}
}

func TestBadCompressionIsRefused(t *testing.T) {
	s, addr := serve(t, Options{Compress: true, MaxMessage: 1 << 10}, echo)
	bomb := pack(t, strings.Repeat("\x00", 64<<10))
	if len(bomb) > 1<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for name, tt := range map[string]struct {
		first byte
		raw   string
		code  int
	}{
		"a bomb":                  {bitFin | bitRSV1 | opBinary, bomb, 1009},
		"noise":                   {bitFin | bitRSV1 | opBinary, "\xff\xff\xff\xff", 1007},
		"text that is not UTF-8":  {bitFin | bitRSV1 | opText, pack(t, "\xff\xfe"), 1007},
		"a compressed ping":       {bitFin | bitRSV1 | opPing, "", 1002},
		"a compressed fragment":   {bitFin | bitRSV1 | opContinuation, "", 1002},
		"another reserved bit":    {bitFin | 0x20 | opText, "", 1002},
		"more than a message has": {bitFin | bitRSV1 | opBinary, strings.Repeat("\x00", 1<<10+1), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, addr, "Sec-WebSocket-Extensions: permessage-deflate")
			p.send(frame{tt.first, tt.raw})
			p.wants(fmt.Sprintf("close %d…", tt.code), "EOF")
			p.nc.Close()
		})
	}
	for cause, want := range map[Cause]uint64{TooBig: 2, Invalid: 2, Broken: 3} {
		counted(t, cause.String(), func() uint64 { return s.Stats().Closed(cause) }, want)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte(pack(f, "hello")))
	f.Add([]byte{0})
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := inflate(b, 1000)
		if len(out) > 1000 {
			t.Errorf("%d bytes came out of a bound of 1000", len(out))
		}
		if err == nil {
			again, err := inflate([]byte(pack(t, string(out))), 1000)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("%q packed and unpacked is %q, %v", out, again, err)
			}
		}
	})
}

func FuzzOffer(f *testing.F) {
	for _, o := range offers {
		f.Add(o.offer)
	}
	f.Fuzz(func(t *testing.T, offer string) {
		a := agree([]string{offer})
		if a.window != 0 && (a.window < 8 || a.window > maxWindow) {
			t.Errorf("%q was agreed to with a window of %d bits", offer, a.window)
		}
		if a.window != 0 { // the answer is an offer that is answered alike
			if again := agree([]string{a.header()}); again != a {
				t.Errorf("%q was agreed to as %+v, the answer %q as %+v", offer, a, a.header(), again)
			}
		}
	})
}

// TestBroadcastsAreCompressedOnce looks at the frames two clients get.
func TestBroadcastsAreCompressedOnce(t *testing.T) {
	shared := &channels.Shared{Message: message(strings.Repeat("rhubarb ", 100))}
	_, addr := serve(t, Options{Compress: true}, func(c *Conn) {
		if err := c.WriteShared(shared); err != nil {
			t.Error(err)
		}
		echo(c)
	})
	for _, header := range []string{"Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10", "X-None: 0"} {
		for range 2 {
			p := dial(t, addr, header)
			p.wants("text " + string(shared.Data))
		}
	}
	var forms int
	for _, key := range []int{0, 10, maxWindow} {
		_, _ = shared.Form(key, func(m channels.Message) ([]byte, error) { forms++; return nil, nil })
	}
	if forms != 0 {
		t.Errorf("%d of three forms had not been kept", forms)
	}
}
