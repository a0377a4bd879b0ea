package auth_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func tickets(t *testing.T, signing byte, older ...byte) *auth.Tickets {
	t.Helper()
	var rest [][]byte
	for _, b := range older {
		rest = append(rest, secret(b))
	}
	all, err := auth.NewTickets(secret(signing), rest...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func issue(t *testing.T, from *auth.Tickets, user string, action auth.Action, name string, ttl time.Duration) string {
	t.Helper()
	text, err := from.Issue(user, action, name, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func bring(ticket string) *http.Request {
	return httptest.NewRequest("GET", "/?ticket="+url.QueryEscape(ticket), nil)
}

func TestTicketIsForOneActionAndName(t *testing.T) {
	all := tickets(t, 'a')
	for _, name := range []string{"chat.lobby", "*", `a\*`, "ü/ö?&=#", "a b"} {
		for _, action := range everyAction {
			g, err := all.Authenticate(bring(issue(t, all, "ada", action, name, 0)))
			if err != nil {
				t.Fatal(err)
			}
			if g.User != "ada" {
				t.Errorf("the user is %q", g.User)
			}
			for _, other := range everyAction {
				if got, want := g.Allows(other, name), other == action; got != want {
					t.Errorf("a ticket to %s allows to %s %q: %v", action, other, name, got)
				}
				for _, n := range []string{name + "x", "x" + name, "x"} {
					if g.Allows(other, n) {
						t.Errorf("a ticket to %s %q allows to %s %q", action, name, other, n)
					}
				}
			}
		}
	}
}

func TestTicketStandsInAURL(t *testing.T) {
	text := issue(t, tickets(t, 'a'), strings.Repeat("ÿ", 20), auth.ReadGroup, strings.Repeat("\xff?", 100), 0)
	if got := url.QueryEscape(text); got != text {
		t.Errorf("%s must be escaped", text)
	}
}

func TestTicketExpires(t *testing.T) {
	for _, c := range []struct{ ttl, want time.Duration }{
		{0, time.Minute},
		{time.Second, time.Second},
		{5 * time.Minute, 5 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := tickets(t, 'a')
			text, start := issue(t, all, "ada", auth.ReadStream, "42", c.ttl), time.Now()
			time.Sleep(c.want - 1)
			g, err := all.Authenticate(bring(text))
			if err != nil {
				t.Fatalf("refused before %s: %v", c.want, err)
			}
			if got := g.Expires.Sub(start); got != c.want {
				t.Errorf("the grant ends after %s, want %s", got, c.want)
			}
			time.Sleep(1 * time.Nanosecond)
			_, err = all.Authenticate(bring(text))
			refused(t, err, 401, "expired", text)
			if g.Allows(auth.ReadStream, "42") {
				t.Error("the grant outlives its ticket")
			}
		})
	}
}

func TestTamperedTicketsAreRefused(t *testing.T) {
	all := tickets(t, 'a', 'b')
	good := issue(t, all, "ada", auth.CallTask, "mail.send", 0)
	for i := range len(good) {
		for b := range 256 {
			if byte(b) == good[i] {
				continue
			}
			bad := good[:i] + string([]byte{byte(b)}) + good[i+1:]
			if _, err := all.Authenticate(bring(bad)); err == nil {
				t.Errorf("%q passed, byte %d was changed", bad, i)
			}
		}
		for _, bad := range []string{good[:i], good[:i] + good[i+1:], good[:i] + "\n" + good[i:], good[:i] + "A" + good[i:], good[i:] + good[:i]} {
			if bad == good {
				continue
			}
			if _, err := all.Authenticate(bring(bad)); err == nil {
				t.Errorf("%q passed", bad)
			}
		}
	}
}

func TestBadTicketsAreRefused(t *testing.T) {
	all := tickets(t, 'a')
	good := issue(t, all, "ada", auth.CallTask, "mail.send", 0)
	other := issue(t, tickets(t, 'b'), "ada", auth.CallTask, "mail.send", 0)
	for _, c := range []struct{ name, query, reason string }{
		{"no ticket", "x=1", "no credentials"},
		{"an empty ticket", "ticket=", "version"},
		{"a word", "ticket=word", "version"},
		{"a version to come", "ticket=v2" + good[2:], "version"},
		{"nothing but a version", "ticket=v1.", "version"},
		{"two dots", "ticket=v1..", "signature"},
		{"another secret", "ticket=" + other, "signature"},
		{"one more byte", "ticket=" + good + "A", "signature"},
		{"a padded signature", "ticket=" + good + "=", "signature"},
		{"too many bytes", "ticket=v1." + strings.Repeat("A", 510), "512 bytes"},
		{"two tickets", "ticket=" + good + "&ticket=" + good, "several"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := all.Authenticate(httptest.NewRequest("POST", "/?"+c.query, nil))
			refused(t, err, 401, c.reason, good, other)
		})
	}
}

func TestTicketSecretsRotate(t *testing.T) {
	before, between, after := tickets(t, 'a'), tickets(t, 'b', 'a'), tickets(t, 'b')
	old := issue(t, before, "ada", auth.CallTask, "x", 0)
	fresh := issue(t, between, "ada", auth.CallTask, "x", 0)
	for _, c := range []struct {
		name   string
		by     *auth.Tickets
		ticket string
		want   bool
	}{
		{"the old secret is still good", between, old, true},
		{"the new one signs", after, fresh, true},
		{"the new one is good where both are known", between, fresh, true},
		{"the old one is forgotten", after, old, false},
		{"the new one is unknown before", before, fresh, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.by.Authenticate(bring(c.ticket)); (err == nil) != c.want {
				t.Errorf("got %v, want to pass: %v", err, c.want)
			}
		})
	}
}

func TestTicketsThatAreNotIssued(t *testing.T) {
	all := tickets(t, 'a')
	for _, c := range []struct {
		name   string
		user   string
		action auth.Action
		of     string
		ttl    time.Duration
		want   string
	}{
		{"for no action", "ada", 0, "x", 0, "does not exist"},
		{"for an action to come", "ada", 6, "x", 0, "does not exist"},
		{"for no name", "ada", auth.CallTask, "", 0, "name is empty"},
		{"for too long a user", strings.Repeat("a", 257), auth.CallTask, "x", 0, "256 bytes"},
		{"for too long a name", "ada", auth.CallTask, strings.Repeat("a", 400), 0, "512 bytes"},
		{"for more than 5 minutes", "ada", auth.CallTask, "x", 5*time.Minute + 1, "5 minutes"},
		{"for the past", "ada", auth.CallTask, "x", -1, "5 minutes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := all.Issue(c.user, c.action, c.of, c.ttl)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want an error with %q", text, err, c.want)
			}
		})
	}
	if _, err := auth.NewTickets(secret('a')[:31]); err == nil {
		t.Error("a secret of 31 bytes is taken")
	}
	if _, err := auth.NewTickets(secret('a'), nil); err == nil {
		t.Error("an older secret of no bytes is taken")
	}
}

func TestAnonymousTicket(t *testing.T) {
	all := tickets(t, 'a')
	g, err := all.Authenticate(bring(issue(t, all, "", auth.ReadGroup, "news", 0)))
	if err != nil || g.User != "" || !g.Allows(auth.ReadGroup, "news") {
		t.Errorf("got %+v, %v", g, err)
	}
}
