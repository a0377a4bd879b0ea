package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer has either a grant or an error.
type answer struct {
	grant *Grant
	err   *Error
}

// result gives each caller a grant of its own.
func (a answer) result() (*Grant, error) {
	if a.err != nil {
		return nil, a.err
	}
	g := *a.grant
	return &g, nil
}

func failure(err error) answer {
	return answer{err: unavailable("it cannot be found out now who you are: try again in a moment", err)}
}

// readAnswer turns an endpoint's answer into ours. Text from the endpoint goes
// to the log, never to the client.
func readAnswer(res *http.Response, standard Grant) answer {
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return answer{err: refuse("you are not logged in, or no longer: log in and try again")}
	case res.StatusCode == http.StatusForbidden:
		return answer{err: &Error{Status: http.StatusForbidden, Reason: "you are logged in, but may not do this: ask who runs this server"}}
	case res.StatusCode < 200 || res.StatusCode > 299:
		return failure(fmt.Errorf("the endpoint answered %s: it must be 2xx, 401 or 403", res.Status))
	}
	g, err := readGrant(res.Header, standard)
	if err != nil {
		return failure(err)
	}
	return answer{grant: &g}
}

func readGrant(h http.Header, standard Grant) (Grant, error) {
	users, grants := h.Values("X-Rhubarb-User"), h.Values("X-Rhubarb-Grant")
	if len(users) > 1 || len(grants) > 1 {
		return Grant{}, errors.New("the endpoint answered with several X-Rhubarb-User or X-Rhubarb-Grant")
	}
	g := standard
	if len(grants) == 1 {
		var err error
		if g, err = readClaim([]byte(grants[0])); err != nil {
			return Grant{}, fmt.Errorf("the X-Rhubarb-Grant of the endpoint %w", err)
		}
		g.User, g.Expires = standard.User, standard.Expires
	}
	if len(users) == 1 {
		g.User = users[0]
	}
	if len(g.User) > maxUser {
		return Grant{}, errors.New("the X-Rhubarb-User of the endpoint has more than 256 bytes")
	}
	return g, nil
}

// freshness returns how long an answer may be kept, within most: RFC 9111,
// 5.2.2 for a cache that keeps nothing it would have to ask about.
func freshness(h http.Header, most time.Duration) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			most = min(most, maxAge(value))
		}
	}
	return most
}

// maxAge reads seconds. RFC 9111, 4.2.1: what is not a number is stale;
// 1.2.2: what is too large a number is just large.
func maxAge(value string) time.Duration {
	s, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(s) * time.Second
}
