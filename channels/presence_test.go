package channels

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// members writes who is present in short.
func members(t *testing.T, h *Hub, group string) string {
	t.Helper()
	ms, err := h.Members(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = fmt.Sprintf("%s×%d%s", m.ID, m.Count, m.Info)
	}
	return strings.Join(out, " ")
}

func present(t *testing.T, e *ear, group, id string) {
	t.Helper()
	if err := e.Present(t.Context(), group, Member{ID: id}); err != nil {
		t.Fatal(err)
	}
}

func TestWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		one, two := open(t, layer, Options{}), open(t, layer, Options{})
		a, b := listen(t, one, "g"), listen(t, two, "g")
		present(t, a, "g", "ann")
		a.wants(t, PresenceJoin)
		b.wants(t, PresenceJoin)
		present(t, b, "g", "bob")
		second := listen(t, one, "g")
		present(t, second, "g", "ann")
		if got := members(t, two, "g"); got != "ann×2 bob×1" {
			t.Errorf("present: %s", got)
		}
		a.wants(t, PresenceJoin, PresenceJoin)
		b.wants(t, PresenceJoin, PresenceJoin)
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.wants(t, PresenceLeave)
		if err := second.Present(t.Context(), "g", Member{ID: "ann", Info: json.RawMessage(`{"away":true}`)}); err != nil {
			t.Fatal(err)
		}
		b.wants(t) // she has not gone, only changed
		if got := members(t, two, "g"); got != `ann×1{"away":true} bob×1` {
			t.Errorf("present: %s", got)
		}
		if err := second.Leave(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		if got := members(t, one, "g"); got != "bob×1" {
			t.Errorf("present: %s", got)
		}
	})
}

func TestPresenceOutlivesItsLeaseWhileTheProcessLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		present(t, listen(t, h, "g"), "g", "ann")
		time.Sleep(10 * presenceLease)
		if got := members(t, h, "g"); got != "ann×1" {
			t.Errorf("present: %s", got)
		}
	})
}

func TestADeadProcessTakesItsMembersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layer := mem(t)
		h := open(t, layer, Options{})
		a := listen(t, h, "g")
		present(t, a, "g", "ann")
		// A hub that does not run renews nothing, as if its process were dead.
		dead, err := Open(t.Context(), layer, &Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := dead.Open(func(Event) {})
		if err == nil {
			err = c.Present(t.Context(), "g", Member{ID: "bob"})
		}
		if err != nil {
			t.Fatal(err)
		}
		a.wants(t, PresenceJoin, PresenceJoin)
		time.Sleep(presenceLease - time.Second)
		a.wants(t)
		time.Sleep(presenceBeat + time.Second)
		a.wants(t, PresenceLeave)
		if got := members(t, h, "g"); got != "ann×1" {
			t.Errorf("present: %s", got)
		}
		if err := dead.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBadMembersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		a := listen(t, h, "g")
		for name, m := range map[string]Member{
			"no id":      {},
			"a long id":  {ID: strings.Repeat("x", engine.MaxID+1)},
			"bad info":   {ID: "a", Info: json.RawMessage("{")},
			"large info": {ID: "a", Info: json.RawMessage(`"` + strings.Repeat("x", engine.MaxMessage) + `"`)},
		} {
			if err := a.Present(t.Context(), "g", m); err == nil {
				t.Errorf("%s was taken", name)
			}
		}
		if err := a.Present(t.Context(), "no group", Member{ID: "a"}); err == nil {
			t.Error("a bad group was taken")
		}
		if err := a.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := a.Present(t.Context(), "g", Member{ID: "a"}); err == nil {
			t.Error("a closed channel is present")
		}
	})
}

func FuzzReadMembers(f *testing.F) {
	for _, seed := range []string{`[]`, `null`, `{}`, `[{"id":"ann","info":{"a":[1]},"count":3}]`, `[{"id":1}]`, `[{"info":null}]`, "[{\"id\":\"\xff\"}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members, err := readMembers(raw)
		if err != nil {
			return
		}
		first, err := writeMembers(members)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", raw, err)
		}
		again, err := readMembers(first)
		if err != nil {
			t.Fatalf("%q was written %q, which cannot be read: %v", raw, first, err)
		}
		if second, err := writeMembers(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q became %q, then %q, %v", raw, first, second, err)
		}
	})
}
