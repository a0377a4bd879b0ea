package sse_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestEventsOnTheWire(t *testing.T) {
	for name, c := range map[string]struct {
		event sse.Event
		want  string
	}{
		"data always has the space":                   {sse.Event{Data: "x"}, "data: x\n\n"},
		"a payload that begins with a space keeps it": {sse.Event{Data: " x"}, "data:  x\n\n"},
		"all fields, data last":                       {sse.Event{ID: "7", Type: "tick", Data: "x", Retry: 1500 * time.Millisecond, Comment: "c"}, ": c\nretry: 1500\nid: 7\nevent: tick\ndata: x\n\n"},
		"data is split on LF, CR and CRLF":            {sse.Event{Data: "a\nb\rc\r\nd\n\re"}, "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n"},
		"lines that end the data are kept":            {sse.Event{Data: "a\n"}, "data: a\ndata: \n\n"},
		"an id alone moves the cursor":                {sse.Event{ID: "7"}, "id: 7\n\n"},
		"a type has data, else it would be dropped":   {sse.Event{Type: "end"}, "event: end\ndata: \n\n"},
		"retry alone has no blank line":               {sse.Event{Retry: time.Second}, "retry: 1000\n"},
		"retry is never 0 by rounding":                {sse.Event{Retry: 1}, "retry: 1\n"},
		"less than no retry is none":                  {sse.Event{Retry: -1, Data: "x"}, "data: x\n\n"},
		"a comment alone has no blank line":           {sse.Event{Comment: "a\nb"}, ": a\n: b\n"},
		"nothing is nothing":                          {sse.Event{}, ""},
		"data may contain NUL":                        {sse.Event{Data: "a\x00b"}, "data: a\x00b\n\n"},
		"what is not UTF-8 is replaced":               {sse.Event{Data: "a\xffb", Comment: "\xff"}, ": \ufffd\ndata: a\ufffdb\n\n"},
		"a byte order mark is data":                   {sse.Event{Data: "\ufeffx"}, "data: \ufeffx\n\n"},
		"data cannot make fields":                     {sse.Event{Data: "x\n\nid: 9\rretry: 1"}, "data: x\ndata: \ndata: id: 9\ndata: retry: 1\n\n"},
		"a comment cannot make fields":                {sse.Event{Comment: "x\r\n\ndata: y"}, ": x\n: \n: data: y\n"},
	} {
		got, err := sse.AppendEvent([]byte("before"), c.event)
		if err != nil || string(got) != "before"+c.want {
			t.Errorf("%s: %+v:\ngot  %q, %v\nwant %q", name, c.event, got, err, "before"+c.want)
		}
	}
}

func TestAnIDOrTypeWithControlCharactersIsRefusedNotStripped(t *testing.T) {
	for _, bad := range []string{"a\nb", "a\rb", "a\x00b", "\n", "a\nid: 1", "\x1b[0m", "\x7f", "\xff"} {
		for _, e := range []sse.Event{{ID: bad, Data: "x"}, {Type: bad, Data: "x"}} {
			got, err := sse.AppendEvent([]byte("before"), e)
			if !errors.Is(err, sse.ErrField) || string(got) != "before" {
				t.Errorf("%+v: got %q, %v, want ErrField and nothing written", e, got, err)
			}
		}
	}
	if got, err := sse.AppendEvent(nil, sse.Event{ID: "ü\ufffd", Type: "ü"}); err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestIDsFitAHeader(t *testing.T) {
	if _, err := sse.AppendEvent(nil, sse.Event{ID: strings.Repeat("a", sse.MaxID)}); err != nil {
		t.Errorf("an id of %d bytes: %v", sse.MaxID, err)
	}
	if _, err := sse.AppendEvent(nil, sse.Event{ID: strings.Repeat("a", sse.MaxID+1)}); !errors.Is(err, sse.ErrTooLarge) {
		t.Errorf("an id of %d bytes: got %v, want ErrTooLarge", sse.MaxID+1, err)
	}
}

func TestLinesStayUnderAMegabyte(t *testing.T) {
	line := strings.Repeat("x", sse.MaxLine)
	for _, data := range []string{line, line + "\n" + line + "\r\n" + line} {
		b, err := sse.AppendEvent(nil, sse.Event{Data: data})
		if err != nil {
			t.Errorf("lines of %d bytes: %v", sse.MaxLine, err)
		}
		r := sse.NewReader(bytes.NewReader(b), &sse.ReaderOptions{MaxEvent: len(data)})
		if e, err := r.Next(); err != nil || len(e.Data) < len(line) {
			t.Errorf("read back: %d bytes, %v", len(e.Data), err)
		}
	}
	for _, data := range []string{line + "x", "a\n" + line + "x\nb", line + "\n" + line + "x"} {
		if b, err := sse.AppendEvent(nil, sse.Event{Data: data}); !errors.Is(err, sse.ErrTooLarge) || len(b) != 0 {
			t.Errorf("a line of %d bytes: got %d bytes, %v, want ErrTooLarge", sse.MaxLine+1, len(b), err)
		}
	}
}

func TestAppendEventDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1024)
	e := sse.Event{ID: "abcd-0000000000007-1-3", Type: "progress", Data: "{\"a\": 1}\nü", Retry: time.Second}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := sse.AppendEvent(dst, e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// normal is what arrives of data: its lines joined by LF, as UTF-8.
func normal(data string) string {
	data = strings.ToValidUTF8(data, string(utf8.RuneError))
	return strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
}

func FuzzEncode(f *testing.F) {
	f.Add("7", "tick", "a\r\nb\rc\n", int64(1500), "comment")
	f.Add("", "", " \x00\ufeff", int64(0), "")
	f.Add("a\nb", "x", "", int64(-1), "\r")
	f.Add("", "message", "", int64(1), "")
	f.Fuzz(func(t *testing.T, id, typ, data string, ms int64, comment string) {
		e := sse.Event{ID: id, Type: typ, Data: data, Retry: time.Duration(ms%1e12) * time.Millisecond, Comment: comment}
		b, err := sse.AppendEvent(nil, e)
		if err != nil {
			if !errors.Is(err, sse.ErrField) && !errors.Is(err, sse.ErrTooLarge) || len(b) > 0 {
				t.Fatalf("%+v: %q, %v", e, b, err)
			}
			return
		}
		// Between two others, so that it can neither change nor swallow one.
		wire := append(append([]byte("id: first\ndata: 1\n\n"), b...), "id: last\ndata: 2\n\n"...)
		r := sse.NewReader(bytes.NewReader(wire), &sse.ReaderOptions{MaxEvent: 1 << 22})
		want := []sse.Event{{ID: "first", Data: "1"}}
		if data != "" || typ != "" {
			if id == "" {
				id = "first"
			}
			want = append(want, sse.Event{ID: id, Type: typ, Data: normal(data)})
		}
		want = append(want, sse.Event{ID: "last", Data: "2"})
		for i, w := range want {
			if got, err := r.Next(); err != nil || got != w {
				t.Fatalf("%+v written as %q: event %d is %+v, %v, want %+v", e, b, i, got, err, w)
			}
		}
		if got, err := r.Next(); err != io.EOF {
			t.Fatalf("%+v written as %q: then came %+v, %v", e, b, got, err)
		}
		if want := max(e.Retry, 0); r.Retry() != want {
			t.Fatalf("%+v written as %q: retry is %v", e, b, r.Retry())
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	e := sse.Event{ID: "abcd-0000000000007-1-3", Data: `{"token": "rhubarb"}`}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sse.AppendEvent(dst, e); err != nil {
			b.Fatal(err)
		}
	}
}
