package sse_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// parse reads events to the end.
func parse(t *testing.T, r *sse.Reader) (all []sse.Event) {
	t.Helper()
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func data(payloads ...string) (all []sse.Event) {
	for _, p := range payloads {
		all = append(all, sse.Event{Data: p})
	}
	return all
}

// wire are streams and what a browser makes of them. The names in brackets are
// files of web-platform-tests, eventsource/.
var wire = map[string]struct {
	in   string
	want []sse.Event
}{
	"a byte order mark is ignored [format-bom]":             {"\ufeffdata: 1\n\ndata: 2\n\n", data("1", "2")},
	"a second byte order mark is data [format-bom-2]":       {"\ufeff\ufeffdata: 1\n\ndata: 2\n\n\ufeffdata: 3\n\n", data("2")},
	"comments are skipped [format-comments]":                {"data: 1\r:\x00\n:\r\ndata: 2\n:" + strings.Repeat("x", 1<<12) + "\rdata: 3\n:data: fail\r:\x00\ndata: 4\n\n", data("1\n2\n3\n4")},
	"a block cut by the end is dropped":                     {"data: 1\n\nid: 2\ndata: 2\n", data("1")},
	"a last line that is cut is dropped":                    {"data: 1\n\ndata: 2", data("1")},
	"data before an empty end [data-before-final-empty]":    {"retry: 1000\ndata: test1\n\nid: test\ndata: test2", data("test1")},
	"a field with no colon [format-field-data]":             {"data:\n\ndata\ndata\n\ndata:test\n\n", data("", "\n", "test")},
	"an event field [format-field-event]":                   {"event:test\ndata:x\n\ndata:x\n\n", []sse.Event{{Type: "test", Data: "x"}, {Data: "x"}}},
	"an empty event field is message [event-empty]":         {"event: \ndata:data\n\n", data("data")},
	"an id stays for events without [format-field-id-3]":    {"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n", []sse.Event{{ID: "1", Data: "a"}, {ID: "1", Data: "b"}, {ID: "2", Data: "c"}}},
	"an empty id resets":                                    {"id: 1\ndata: a\n\nid\ndata: b\n\n", []sse.Event{{ID: "1", Data: "a"}, {Data: "b"}}},
	"an id with NUL is ignored [format-field-id-null]":      {"id: 1\ndata: a\n\nid: 2\x002\ndata: b\n\n", []sse.Event{{ID: "1", Data: "a"}, {ID: "1", Data: "b"}}},
	"an id without data moves the cursor":                   {"id: 7\n\ndata: a\n\n", []sse.Event{{ID: "7", Data: "a"}}},
	"a type without data is forgotten":                      {"event: x\n\ndata: a\n\n", data("a")},
	"exactly one space is taken [format-leading-space]":     {"data:\ttest\rdata: \ndata:  test\n\n", data("\ttest\n\n test")},
	"line ends may be mixed [format-newlines]":              {"data:test\r\ndata\ndata:test\r\n\r\n", data("test\n\ntest")},
	"CR alone ends lines":                                   {"data: a\rdata: b\r\rdata: c\r\r", data("a\nb", "c")},
	"NUL is data [format-null-character]":                   {"data:\x00\n\n", data("\x00")},
	"unknown fields are ignored [format-field-unknown]":     {"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n", data("test\n\ntest")},
	"field names are case-sensitive [format-field-parsing]": {"data:\x00\ndata:  2\rData:1\ndata\x00:2\ndata:1\r\x00data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n", data("\x00\n 2\n1\n3\n\n4")},
	"invalid UTF-8 is replaced [format-utf-8]":              {"data: ok\xff\n\n", data("ok\ufffd")},
	"a colon may be in the value":                           {"data: a: b:c\n\n", data("a: b:c")},
	"blank lines alone are nothing":                         {"\n\n\r\r\r\n\r\n", nil},
	"nothing is nothing":                                    {"", nil},
}

func TestReaderIsABrowser(t *testing.T) {
	for name, c := range wire {
		for how, r := range map[string]io.Reader{
			"at once":      strings.NewReader(c.in),
			"by bytes":     iotest.OneByteReader(strings.NewReader(c.in)),
			"end with all": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			if got := parse(t, sse.NewReader(r, nil)); !slices.Equal(got, c.want) {
				t.Errorf("%s, read %s: %q:\ngot  %+v\nwant %+v", name, how, c.in, got, c.want)
			}
		}
	}
}

func TestTheIDOfACutEventDoesNotCount(t *testing.T) {
	r := sse.NewReader(strings.NewReader("id: 1\ndata: a\n\nid: 2\ndata: b\n"), nil)
	parse(t, r)
	if r.LastEventID() != "1" {
		t.Errorf("the cursor is %q, want 1", r.LastEventID())
	}
}

func TestRetryIsDigitsOnly(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"1000": time.Second, "0": 0, "007": 7 * time.Millisecond,
		"1000x": -1, "-1": -1, "+1": -1, "1.5": -1, " 1": -1, "": -1, "٣": -1,
		strings.Repeat("9", 1000): 1e12 * time.Millisecond,
	} {
		r := sse.NewReader(strings.NewReader("retry:5\nretry: "+in+"\n"), nil)
		parse(t, r)
		if want < 0 {
			want = 5 * time.Millisecond
		}
		if r.Retry() != want {
			t.Errorf("retry: %.20s: got %v, want %v", in, r.Retry(), want)
		}
	}
}

func TestAnEventIsThereBeforeTheByteBehindACR(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	go pw.Write([]byte("data: a\r\r")) // and no more
	if e, err := sse.NewReader(pr, nil).Next(); err != nil || e.Data != "a" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestReaderIsBounded(t *testing.T) {
	opts := &sse.ReaderOptions{MaxEvent: 1000}
	fits := "id: 1\ndata: " + strings.Repeat("x", 1000) + "\n\n"
	if got := parse(t, sse.NewReader(strings.NewReader(fits), opts)); len(got) != 1 {
		t.Errorf("an event of just the limit: got %d events", len(got))
	}
	for name, in := range map[string]string{
		"a line":     "data: " + strings.Repeat("x", 1001) + "\n\n",
		"no end":     strings.Repeat("x", 5000),
		"many lines": strings.Repeat("data: xxxxxxxxxx\n", 100) + "\n",
		"no data":    strings.Repeat("data\n", 1100) + "\n",
		"a comment":  ":" + strings.Repeat("x", 2000) + "\n",
	} {
		r := sse.NewReader(strings.NewReader(in), opts)
		if e, err := r.Next(); !errors.Is(err, sse.ErrTooLarge) {
			t.Errorf("%s: got %d bytes, %v, want ErrTooLarge", name, len(e.Data), err)
		}
	}
}

func TestHeartbeatsDoNotAddUp(t *testing.T) {
	in := strings.Repeat(": keep-alive\n", 1000) + "data: a\n\n"
	if got := parse(t, sse.NewReader(strings.NewReader(in), &sse.ReaderOptions{MaxEvent: 100})); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAReadErrorIsReturned(t *testing.T) {
	broken := errors.New("broken")
	r := sse.NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), nil)
	var got []string
	var last error
	for e, err := range r.All() {
		if last = err; err == nil {
			got = append(got, e.Data)
		}
	}
	if !slices.Equal(got, []string{"a"}) || !errors.Is(last, broken) {
		t.Errorf("got %q, %v", got, last)
	}
}

func FuzzReader(f *testing.F) {
	for _, c := range wire {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 1 << 12
		read := func(r io.Reader) (all []sse.Event, id string, err error) {
			rd := sse.NewReader(r, &sse.ReaderOptions{MaxEvent: most})
			for {
				e, err := rd.Next()
				if err != nil {
					return all, rd.LastEventID(), err
				}
				if len(e.Data) > 3*most {
					t.Fatalf("an event of %d bytes", len(e.Data))
				}
				all = append(all, e)
			}
		}
		all, id, err := read(bytes.NewReader(in))
		if err != io.EOF && !errors.Is(err, sse.ErrTooLarge) {
			t.Fatal(err)
		}
		if again, id2, _ := read(iotest.OneByteReader(bytes.NewReader(in))); !slices.Equal(all, again) || id != id2 {
			t.Fatalf("%q: read at once %+v, by bytes %+v", in, all, again)
		}
		var out []byte
		for _, e := range all {
			if e.Type == "" && e.Data == "" {
				e.Type = "message"
			}
			if out, err = sse.AppendEvent(out, e); err != nil { // an id from elsewhere may be one we do not write
				return
			}
		}
		back, _, err := read(bytes.NewReader(out))
		if err != io.EOF || len(back) != len(all) {
			if errors.Is(err, sse.ErrTooLarge) {
				return // replacement characters made it grow
			}
			t.Fatalf("%q: written again %q, read as %+v, %v", in, out, back, err)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	event := []byte("id: abcd-0000000000007-1-3\ndata: {\"token\": \"rhubarb\"}\n\n")
	all := bytes.Repeat(event, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(all)))
	for b.Loop() {
		r := sse.NewReader(bytes.NewReader(all), nil)
		for range 1000 {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
