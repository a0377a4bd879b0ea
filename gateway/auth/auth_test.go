package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// by is an authenticator in a line.
type by func(r *http.Request) (*auth.Grant, error)

func (f by) Authenticate(r *http.Request) (*auth.Grant, error) { return f(r) }

func TestAnyAsksInOrder(t *testing.T) {
	none := by(func(*http.Request) (*auth.Grant, error) { return nil, auth.ErrNone })
	bad := by(func(*http.Request) (*auth.Grant, error) { return nil, &auth.Error{Status: 403, Reason: "no"} })
	ada := auth.Anonymous(auth.Grant{User: "ada"})
	bob := auth.Anonymous(auth.Grant{User: "bob"})
	for _, c := range []struct {
		name   string
		auth   auth.Authenticator
		user   string
		status int
	}{
		{"the first grant counts", auth.Any(ada, bob), "ada", 0},
		{"one without credentials is passed over", auth.Any(none, bob), "bob", 0},
		{"a refusal is the end", auth.Any(none, bad, ada), "", 403},
		{"nobody finds anything", auth.Any(none, none), "", 401},
		{"nobody is asked", auth.Any(), "", 401},
		{"they nest", auth.Any(auth.Any(none), bob), "bob", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := c.auth.Authenticate(httptest.NewRequest("GET", "/", nil))
			if c.status != 0 {
				refused(t, err, c.status, "")
				return
			}
			if err != nil || g.User != c.user {
				t.Errorf("got %+v, %v, want the user %s", g, err, c.user)
			}
		})
	}
	if _, err := auth.Any(none).Authenticate(httptest.NewRequest("GET", "/", nil)); !errors.Is(err, auth.ErrNone) {
		t.Errorf("got %v, want ErrNone", err)
	}
}

func TestAnonymousGrantsAreNotShared(t *testing.T) {
	a := auth.Anonymous(auth.Grant{User: "guest"})
	g, err := a.Authenticate(nil)
	if err != nil {
		t.Fatal(err)
	}
	g.User = "root"
	if g, _ := a.Authenticate(nil); g.User != "guest" {
		t.Errorf("the next guest is %q", g.User)
	}
}

func TestErrorTellsTheLogMore(t *testing.T) {
	cause := errors.New("connection refused")
	err := &auth.Error{Status: 503, Reason: "try later", Err: cause}
	if got, want := err.Error(), "auth: try later: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

// refused checks an error. What must not be in its texts follows the reason.
func refused(t *testing.T, err error, status int, reason string, secrets ...string) {
	t.Helper()
	e, ok := errors.AsType[*auth.Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error with %d %q", err, status, reason)
	}
	if e.Status != status || !strings.Contains(e.Reason, reason) {
		t.Errorf("got %d %q, want %d with %q in it", e.Status, e.Reason, status, reason)
	}
	for _, s := range secrets {
		if len(s) > 3 && strings.Contains(err.Error(), s) {
			t.Errorf("%q gives away %q", err, s)
		}
	}
}
