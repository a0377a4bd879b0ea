package channels

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// vectors are recordings of channels_redis; see testdata/messages.json for its
// version.
type vectors struct {
	Cases []struct {
		Name    string
		Value   map[string]any
		Msgpack string
	}
	Foreign []struct {
		Name    string
		Msgpack string
		Error   string
	} `json:"foreign_frames"`
}

func golden(t testing.TB) (v vectors) {
	t.Helper()
	raw, err := os.ReadFile("testdata/messages.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil || len(v.Cases) == 0 || len(v.Foreign) == 0 {
		t.Fatalf("golden vectors: %d and %d of them, %v", len(v.Cases), len(v.Foreign), err)
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPythonsEventsAreRead(t *testing.T) {
	read := 0
	for _, c := range golden(t).Cases {
		body := unhex(t, c.Msgpack)
		e, err := ReadEvent(body)
		typ, _ := c.Value["type"].(string)
		if typ == "" {
			if !errors.Is(err, ErrEvent) {
				t.Errorf("%s has no type: %v, want ErrEvent", c.Name, err)
			}
			continue
		}
		read++
		if err != nil || e.Type != typ {
			t.Errorf("%s: type %q, %v, want %q", c.Name, e.Type, err, typ)
			continue
		}
		var fields map[string]any
		if err := e.Decode(&fields); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		delete(fields, "type")
		again, err := NewEvent(typ, fields)
		if err != nil {
			t.Errorf("%s: write it again: %v", c.Name, err)
			continue
		}
		var same map[string]any
		if err := again.Decode(&same); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		delete(same, "type")
		if !reflect.DeepEqual(same, fields) {
			t.Errorf("%s: got %v, want %v", c.Name, same, fields)
		}
	}
	if read < 6 {
		t.Errorf("only %d vectors have a type", read)
	}
}

func TestEventsAreWrittenAsPythonDoes(t *testing.T) {
	want := map[string]string{}
	for _, c := range golden(t).Cases {
		want[c.Name] = c.Msgpack
	}
	for name, fields := range map[string]any{
		"basic": struct {
			Message string `json:"message"`
		}{"hello"},
		"none_bool": struct {
			N any  `json:"n"`
			T bool `json:"t"`
			F bool `json:"f"`
		}{nil, true, false},
		"binary": struct {
			Bytes []byte `json:"bytes"`
			Empty []byte `json:"empty"`
		}{[]byte{0, 0xff, 0x80, 0x0a}, []byte{}},
	} {
		typ := map[string]string{"basic": "chat.message", "none_bool": "x", "binary": "websocket.send"}[name]
		e, err := NewEvent(typ, fields)
		if err != nil || hex.EncodeToString(e.Body()) != want[name] {
			t.Errorf("%s:\ngot  %x, %v\nwant %s", name, e.Body(), err, want[name])
		}
	}
}

func TestForeignEncodingsAreToldApart(t *testing.T) {
	for _, c := range golden(t).Foreign {
		s := scanner{b: unhex(t, c.Msgpack)}
		err := s.skip()
		if err == nil && s.at != len(s.b) {
			err = s.bad("more follows")
		}
		if (err != nil) != (c.Error != "") {
			t.Errorf("%s: %v; Python says %q", c.Name, err, c.Error)
		}
	}
}

func TestWhatIsNoEvent(t *testing.T) {
	deep := func(n int) []byte {
		b := append([]byte("\x82\xa4type\xa1x\xa1a"), bytes.Repeat([]byte{0x91}, n)...)
		return append(b, 0xc0)
	}
	if _, err := ReadEvent(deep(maxDepth - 1)); err != nil {
		t.Errorf("nested as deep as may be: %v", err)
	}
	for name, body := range map[string][]byte{
		"nothing":             {},
		"no map":              {0x91, 0x01},
		"no type":             []byte("\x81\xa1a\x01"),
		"a type that is none": []byte("\x81\xa4type\x01"),
		"two types":           []byte("\x82\xa4type\xa1x\xa4type\xa1y"),
		"an empty type":       []byte("\x81\xa4type\xa0"),
		"a private type":      []byte("\x81\xa4type\xa2_x"),
		"a hidden type":       []byte("\x81\xa4type\xa2.x"),
		"a type with a space": []byte("\x81\xa4type\xa3a b"),
		"a type with a zero":  []byte("\x81\xa4type\xa3a\x00b"),
		"more after it":       []byte("\x81\xa4type\xa1x\xc0"),
		"cut short":           []byte("\x82\xa4type\xa1x"),
		"a lying length":      []byte("\x82\xa4type\xa1x\xa1a\xdd\xff\xff\xff\xff"),
		"too deep":            deep(maxDepth + 1),
		"a number for a key":  []byte("\x82\xa4type\xa1x\xa1a\x81\x01\x01"),
	} {
		if _, err := ReadEvent(body); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %v, want ErrEvent", name, err)
		}
	}
	if _, err := ReadEvent(make([]byte, engine.MaxMessage+1)); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("too large: %v, want ErrLimit", err)
	}
	for name, fields := range map[string]any{
		"a type of its own": map[string]any{"type": "y"},
		"a list":            []int{1},
		"a time":            map[string]any{"at": time.Now()},
		"a Go channel":      map[string]any{"c": make(chan int)},
	} {
		if _, err := NewEvent("x", fields); !errors.Is(err, ErrEvent) {
			t.Errorf("new event with %s: %v, want ErrEvent", name, err)
		}
	}
	if _, err := NewEvent(strings.Repeat("x", 100), nil); !errors.Is(err, ErrEvent) {
		t.Errorf("a long type: %v, want ErrEvent", err)
	}
}

func FuzzReadEvent(f *testing.F) {
	for _, c := range golden(f).Cases {
		f.Add(unhex(f, c.Msgpack))
	}
	for _, c := range golden(f).Foreign {
		f.Add(append([]byte("\x82\xa4type\xa1x\xa1a"), unhex(f, c.Msgpack)...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := ReadEvent(body)
		if err != nil {
			return
		}
		var fields map[string]any
		if err := e.Decode(&fields); err != nil {
			return // an extension that nobody here knows
		}
		if fields["type"] != e.Type {
			t.Errorf("the type is %q, decoded it is %v", e.Type, fields["type"])
		}
	})
}
