package auth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

var everyAction = []auth.Action{auth.ReadGroup, auth.WriteGroup, auth.ReadStream, auth.CallTask, auth.RevokeTask}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		name, pattern, of string
		want              bool
	}{
		{"a name stands for itself", "mail.send", "mail.send", true},
		{"a name is not a prefix", "mail.send", "mail.send.all", false},
		{"a name is not a suffix", "send", "mail.send", false},
		{"case counts", "Mail", "mail", false},
		{"a star is anything", "*", "a/b.c d", true},
		{"a star is nothing too", "mail*", "mail", true},
		{"a star crosses dots and slashes", "a*z", "a.b/c.z", true},
		{"a star needs what follows it", "*.send", "mail.receive", false},
		{"stars look again", "*ab*ab", "abxabab", true},
		{"stars do not share a letter", "ab*ba", "aba", false},
		{"a question mark is one", "a?", "ab", false},
		{"brackets are brackets", "[a]", "[a]", true},
		{"an escaped star is a star", `a\*`, "a*", true},
		{"an escaped star is no other text", `a\*`, "ab", false},
		{"an escaped backslash is one", `a\\b`, `a\b`, true},
		{"an escaped letter is the letter", `\a`, "a", true},
		{"an escaped star after a star", `*\*`, "abc*", true},
		{"a backslash at the end matches nothing", `a\`, `a\`, false},
		{"an empty pattern matches nothing", "", "a", false},
		{"an empty name is never allowed", "*", "", false},
		{"a name may be as long as 1024 bytes", "*", strings.Repeat("a", 1024), true},
		{"a longer name is never allowed", "*", strings.Repeat("a", 1025), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := auth.Grant{CallTasks: []string{"unrelated", c.pattern}}
			if got := g.Allows(auth.CallTask, c.of); got != c.want {
				t.Errorf("pattern %q allows %q: %v, want %v", c.pattern, c.of, got, c.want)
			}
		})
	}
}

func TestEachActionHasItsOwnList(t *testing.T) {
	for _, c := range []struct {
		action auth.Action
		grant  auth.Grant
		text   string
	}{
		{auth.ReadGroup, auth.Grant{ReadGroups: []string{"*"}}, "read group"},
		{auth.WriteGroup, auth.Grant{WriteGroups: []string{"*"}}, "write group"},
		{auth.ReadStream, auth.Grant{ReadStreams: []string{"*"}}, "read stream"},
		{auth.CallTask, auth.Grant{CallTasks: []string{"*"}}, "call task"},
		{auth.RevokeTask, auth.Grant{RevokeTasks: []string{"*"}}, "revoke task"},
	} {
		if got := c.action.String(); got != c.text {
			t.Errorf("Action(%d) is %q, want %q", int(c.action), got, c.text)
		}
		for _, other := range everyAction {
			if got, want := c.grant.Allows(other, "x"), other == c.action; got != want {
				t.Errorf("a grant to %s allows to %s: %v, want %v", c.action, other, got, want)
			}
		}
	}
}

func TestNothingIsAllowed(t *testing.T) {
	all := auth.Grant{ReadGroups: []string{"*"}, WriteGroups: []string{"*"}, ReadStreams: []string{"*"}, CallTasks: []string{"*"}, RevokeTasks: []string{"*"}}
	for _, c := range []struct {
		name  string
		grant *auth.Grant
		do    []auth.Action
	}{
		{"by the zero grant", &auth.Grant{}, everyAction},
		{"by no grant", nil, everyAction},
		{"of actions that do not exist", &all, []auth.Action{0, -1, 6, 1 << 30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, action := range c.do {
				if c.grant.Allows(action, "x") {
					t.Errorf("%s (%d) is allowed", action, int(action))
				}
			}
		})
	}
}

func TestGrantExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.Grant{Expires: time.Now().Add(time.Minute), CallTasks: []string{"*"}}
		time.Sleep(time.Minute - 1)
		if !g.Allows(auth.CallTask, "x") {
			t.Error("not allowed just before the end")
		}
		time.Sleep(1 * time.Nanosecond)
		if g.Allows(auth.CallTask, "x") {
			t.Error("allowed at the end")
		}
	})
}

func TestClaimHasNoEmptyParts(t *testing.T) {
	for _, c := range []struct {
		grant auth.Grant
		want  string
	}{
		{auth.Grant{User: "ada"}, `{}`},
		{auth.Grant{CallTasks: []string{}}, `{}`},
		{auth.Grant{WriteGroups: []string{"a"}}, `{"groups":{"write":["a"]}}`},
		{
			auth.Grant{ReadGroups: []string{"a"}, WriteGroups: []string{"b"}, ReadStreams: []string{"c"}, CallTasks: []string{"d"}, RevokeTasks: []string{"e"}},
			`{"groups":{"read":["a"],"write":["b"]},"streams":{"read":["c"]},"tasks":{"call":["d"],"revoke":["e"]}}`,
		},
	} {
		if got := string(c.grant.Claim()); got != c.want {
			t.Errorf("the claim of %+v is %s, want %s", c.grant, got, c.want)
		}
		if !json.Valid(c.grant.Claim()) {
			t.Errorf("the claim of %+v is not JSON", c.grant)
		}
	}
}
