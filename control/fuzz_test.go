package control

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

// FuzzRequest has a server answer whatever comes: it must not panic, and what
// it answers must be JSON.
func FuzzRequest(f *testing.F) {
	for _, name := range captures(f) {
		c := load(f, name)
		f.Add([]byte(c.request.Headers), []byte(c.request.Body))
	}
	f.Fuzz(func(t *testing.T, headers, body []byte) {
		if len(body) > engine.MaxMessage {
			return
		}
		out := &ear{}
		s, err := NewServer(out, nodeName, newDesk(), &ServerOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s.serve(t.Context(), engine.Message{Headers: headers, Body: body})
		if out.sent.Body != nil && (!json.Valid(out.sent.Body) || !json.Valid(out.sent.Headers)) {
			t.Errorf("answers %q %q", out.sent.Headers, out.sent.Body)
		}
	})
}

// FuzzReply reads what a node answers as every kind of reply.
func FuzzReply(f *testing.F) {
	for _, name := range captures(f) {
		f.Add([]byte(`{"ticket":"t","clock":7}`), []byte(load(f, name).replies))
	}
	f.Fuzz(func(t *testing.T, headers, body []byte) {
		r, err := readReply(engine.Message{Headers: headers, Body: body})
		if err != nil {
			return
		}
		all := Replies{r.node: r.value}
		all.OK() //nolint:errcheck // it must not panic
		for _, to := range []any{new(Stats), new([]Invocation), new([]Scheduled), new(map[string]Found), new([]Queue)} {
			if json.Unmarshal(r.value, to) != nil {
				continue
			}
			if _, err := json.Marshal(to); err != nil {
				t.Errorf("%s was read as %T and cannot be written: %v", r.value, to, err)
			}
		}
	})
}

// FuzzGlob checks that every glob is an expression, and that one without
// brackets and stars means itself.
func FuzzGlob(f *testing.F) {
	f.Add("celery@[!a-c]*")
	f.Add("[]-a]")
	f.Add("[[:alpha:]]")
	f.Fuzz(func(t *testing.T, glob string) {
		re, err := regexp.Compile(globExpr(glob))
		if err != nil {
			t.Fatalf("%q becomes %q: %v", glob, globExpr(glob), err)
		}
		if plain := regexp.MustCompile(`^[a-z@.\-]*$`); plain.MatchString(glob) && !re.MatchString(glob) {
			t.Errorf("%q does not match itself", glob)
		}
	})
}
