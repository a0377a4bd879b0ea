package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/stream"
)

// said is an event of one of several sources.
type said struct {
	Task, Group, Event string
	Data               json.RawMessage
}

func (e said) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s%s %s%s", e.Task, e.Group, e.Event, e.Data))
}

// hears reads events that say something, and the id of the last one.
func hears(t *testing.T, r *sse.Reader, n int) (all []string, id string) {
	t.Helper()
	for len(all) < n {
		e, err := r.Next()
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		if e.Type == "end" {
			return append(all, "END"), e.ID
		}
		var s said
		if err := json.Unmarshal([]byte(e.Data), &s); err != nil {
			t.Fatalf("%q: %v", e.Data, err)
		}
		if len(e.ID) > sse.MaxID || e.ID == "" {
			t.Errorf("the id %q has %d bytes", e.ID, len(e.ID))
		}
		all, id = append(all, s.String()), e.ID
	}
	return all, id
}

func (s *site) writer(id string) *stream.Writer {
	s.t.Helper()
	w, err := stream.Begin(s.t.Context(), s.app.Engines().Streams, id, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

func write(t *testing.T, w *stream.Writer, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := w.Append(t.Context(), []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *site) tells(group, text string) {
	s.t.Helper()
	if res := s.do("POST", "/groups/"+group, `{"type":"x","n":`+text+`}`); res.StatusCode != http.StatusAccepted {
		s.t.Fatalf("publish: got %d %s", res.StatusCode, res.body)
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSeveralSourcesOnOneConnectionAndBackWithOneID(t *testing.T) {
	s, _ := openGroups(t, keep)
	a, b := s.writer("a"), s.writer("b")
	path := "/events?task=a&task=b&group=chat.x&group=chat.y"
	r := s.follow(path)
	got, _ := hears(t, r, 2)
	slices.Sort(got)
	same(t, got, `a reset{"attempt":1}`, `b reset{"attempt":1}`)
	write(t, a, `"one"`)
	got, _ = hears(t, r, 1)
	same(t, got, `a "one"`)
	s.tells("chat.y", "1")
	got, at := hears(t, r, 1)
	same(t, got, `chat.y {"n":1,"type":"x"}`)

	// What comes while nobody listens, from sources old and new to the client.
	write(t, b, `not JSON`)
	s.tells("chat.x", "2")
	s.tells("chat.y", "3")
	if err := a.End(t.Context(), []byte(`{"ok":true}`)); err != nil {
		t.Fatal(err)
	}
	r = s.follow(path + "&last_event_id=" + at)
	got, at = hears(t, r, 4)
	missed := map[string]bool{}
	for _, g := range got {
		missed[g] = true
	}
	for _, want := range []string{`b "not JSON"`, `chat.x {"n":2,"type":"x"}`, `chat.y {"n":3,"type":"x"}`, `a end{"ok":true}`} {
		if !missed[want] {
			t.Errorf("got %q, without %s", got, want)
		}
	}
	r = s.follow(path + "&last_event_id=" + at)
	s.tells("chat.x", "4")
	got, _ = hears(t, r, 1)
	same(t, got, `chat.x {"n":4,"type":"x"}`)
}

func TestAClientThatHeardNothingMissesNothing(t *testing.T) {
	s, hub := openGroups(t, keep)
	for group, path := range map[string]string{"chat.x": "/events?group=chat.x", "chat.y": "/groups/chat.y/events"} {
		s.tells(group, "0") // before it came
		r := s.follow(path)
		e, err := channels.NewEvent("passing", nil) // which is not kept, and has no id
		if err == nil {
			err = hub.GroupSend(t.Context(), group, e)
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, err := r.Next(); err != nil || !strings.Contains(e.Data, "passing") || e.ID == "" {
			t.Fatalf("%s: heard %+v, %v, want an id from before", path, e, err)
		}
		s.tells(group, "1")
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		next, err := s.follow(path + sep + "last_event_id=" + r.LastEventID()).Next()
		if err != nil || !strings.Contains(next.Data, `{"n":1,"type":"x"}`) {
			t.Errorf("%s: got %+v, %v", path, next, err)
		}
	}
}

func TestWhenEveryStreamHasEndedSoDoesTheConnection(t *testing.T) {
	s, _ := openGroups(t)
	for _, id := range []string{"a", "b"} {
		w := s.writer(id)
		if err := w.End(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	r := s.follow("/events?task=a&task=b")
	got, at := hears(t, r, 4)
	if got, _ := hears(t, r, 1); got[0] != "END" {
		t.Errorf("got %q after %q", got, at)
	}
	if e, err := r.Next(); err == nil {
		t.Errorf("got %+v after the end", e)
	}
	if res := s.do("GET", "/events?task=a&task=b&last_event_id="+at, ""); res.StatusCode != http.StatusNoContent {
		t.Errorf("after %q: got %d, want 204", got, res.StatusCode)
	}
}

// many are so many streams that no vector of them fits an id.
func many(s *site, n int) (path string, writers []*stream.Writer) {
	q := url.Values{}
	for i := range n {
		id := fmt.Sprintf("task-%d", i)
		q.Add("task", id)
		writers = append(writers, s.writer(id))
	}
	return "/events?" + q.Encode(), writers
}

func TestMoreSourcesThanAnIDHolds(t *testing.T) {
	const n = 40
	s, _ := openGroups(t)
	path, writers := many(s, n)
	r := s.follow(path)
	hears(t, r, n) // the resets
	write(t, writers[7], `1`, `2`)
	got, _ := hears(t, r, 2)
	same(t, got, "task-7 1", "task-7 2")
	write(t, writers[39], `3`)
	got, at := hears(t, r, 1)
	same(t, got, "task-39 3")
	if at[0] != 'h' {
		t.Errorf("the id %q is no handle", at)
	}
	write(t, writers[0], `4`)
	r = s.follow(path + "&last_event_id=" + at)
	got, _ = hears(t, r, 1)
	same(t, got, "task-0 4")
}

func TestAnIDOfOtherSourcesIsAGapAndNoSilence(t *testing.T) {
	s, _ := openGroups(t, keep)
	write(t, s.writer("a"), `1`)
	s.tells("chat.x", "1")
	for _, id := range []string{"nonsense", "v", "v!", "vAAAA", "hAAAAAAAAAAAAAAAAAAAAAAAAAA.1.0", "h..", strings.Repeat("v", 200),
		string(engine.Cursor{Offset: 3}.Position("a"))} {
		r := s.follow("/events?task=a&group=chat.x&last_event_id=" + url.QueryEscape(id))
		if id == "v" { // of none of them: it is new to both
			got, _ := hears(t, r, 2)
			same(t, got, `a reset{"attempt":1}`, "a 1")
			continue
		}
		var gaps int
		for heard := map[string]bool{}; !heard["a 1"] || gaps < 2; {
			e, err := r.Next()
			if err != nil {
				t.Fatalf("%q: %v after %v", id, err, heard)
			}
			var s said
			if err := json.Unmarshal([]byte(e.Data), &s); err != nil {
				t.Fatal(err)
			}
			if s.Event == "gap" {
				gaps++
			}
			heard[s.String()] = true
		}
	}
}

func TestBadRequestsForSeveralSources(t *testing.T) {
	s, _ := openGroups(t)
	for _, c := range []struct {
		query  string
		status int
		detail string
	}{
		{"", 400, "follow 1 to 64 streams and groups"},
		{"?task=" + strings.Repeat("&task=", 3), 400, "the task id has 0 bytes"},
		{"?task=a&task=a", 400, `"a" is there twice`},
		{"?group=secret", 404, "is not open here"},
		{"?group=a%2Fb", 400, "only ASCII letters"},
		{"?" + strings.Repeat("task=a&", 65), 400, "these are 65"},
	} {
		expectProblem(t, s.do("GET", "/events"+c.query, ""), c.status, c.detail)
	}
	expectProblem(t, open(t, gateway.Options{}).do("GET", "/events?group=chat.x", ""), 404, "is not open here")
}

func TestEachOfSeveralSourcesNeedsItsPermission(t *testing.T) {
	s := guarded(t)
	ann := "Bearer " + token(t, "ann", 3600e9, annMay)
	for query, want := range map[string]int{"?task=x&group=secret": 404, "?group=chat.garden&group=chat.lobby": 200} {
		res := s.do("HEAD", "/events"+query, "", "Authorization", ann)
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", query, res.StatusCode, want)
		}
	}
	bob := "Bearer " + token(t, "bob", 3600e9, `{"groups":{"read":["chat.lobby"]}}`)
	for _, query := range []string{"?group=chat.lobby&group=chat.garden", "?group=chat.lobby&task=x"} {
		expectProblem(t, s.do("GET", "/events"+query, "", "Authorization", bob), 403, "may not read")
	}
	expectProblem(t, s.do("GET", "/events?group=chat.lobby", ""), 401, "")
}
