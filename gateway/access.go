package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// caller is who makes a request and what they may do.
type caller struct {
	grant *auth.Grant // nil: everything
}

type callerKey struct{}

// callerOf returns who makes the request. The guard has put it there.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// user is the name under which connections are counted; an anonymous caller is
// the user "".
func (c caller) user() string {
	if c.grant == nil {
		return ""
	}
	return c.grant.User
}

// until is when the caller's permission ends; zero is never.
func (c caller) until() time.Time {
	if c.grant == nil {
		return time.Time{}
	}
	return c.grant.Expires
}

// may returns the problem of a caller who may not do something.
func (c caller) may(action auth.Action, name string) error {
	if c.grant == nil || c.grant.Allows(action, name) {
		return nil
	}
	who := fmt.Sprintf("user %q", c.grant.User)
	if c.grant.User == "" {
		who = "who is not logged in"
	}
	return problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("%s may not %s %q", who, action, name)}
}

// identify finds out who makes the request, and whether they may make it.
func (g *Gateway) identify(rt route, r *http.Request) (*http.Request, error) {
	var c caller
	switch {
	case rt.open || g.opts.Token == "" && g.opts.Auth == nil:
	case g.opts.Token != "" && g.authorized(rt, r):
	case g.opts.Auth == nil:
		cause := refusedNone
		if r.Header.Get("Authorization") != "" || r.URL.Query().Has("access_token") {
			cause = refusedBad
		}
		return nil, g.refused(cause, problem{Status: http.StatusUnauthorized, Detail: "send the token as Authorization: Bearer <token>"})
	default:
		grant, err := g.opts.Auth.Authenticate(r)
		if err != nil {
			return nil, g.unknown(r, err)
		}
		c.grant = grant
	}
	if c.grant == nil {
		return r, nil
	}
	if rt.admin {
		return nil, g.refused(refusedForbidden, problem{Status: http.StatusForbidden, Detail: "this needs the gateway's own token: Authorization: Bearer <token>"})
	}
	if action, asks := rt.needs[r.Method]; asks {
		if err := g.allow(c, action, rt.name(r)); err != nil {
			return nil, err
		}
	}
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), nil
}

// Causes for which a request is not let in.
const (
	refusedNone        = "none"
	refusedBad         = "bad"
	refusedForbidden   = "forbidden"
	refusedUnavailable = "unavailable"
	refusedBusy        = "busy"
)

// refused counts a request that is not let in.
func (g *Gateway) refused(cause string, p problem) problem {
	g.metrics.refused.WithLabelValues(cause).Inc()
	return p
}

// allow is caller.may for a request, which is counted if it is not let in.
func (g *Gateway) allow(c caller, action auth.Action, name string) error {
	err := c.may(action, name)
	if err != nil {
		g.metrics.refused.WithLabelValues(refusedForbidden).Inc()
	}
	return err
}

// unknown is the problem of a request that could not be authenticated.
func (g *Gateway) unknown(r *http.Request, err error) problem {
	var refused *auth.Error
	if !errors.As(err, &refused) {
		refused = &auth.Error{Status: http.StatusServiceUnavailable, Reason: "it could not be found out who asks: try again", Err: err}
	}
	if refused.Err != nil {
		g.log.Warn("authenticate", "path", r.URL.Path, "err", refused.Err)
	}
	cause := refusedBad
	switch {
	case refused == auth.ErrNone:
		cause = refusedNone
	case refused.Status == http.StatusForbidden:
		cause = refusedForbidden
	case refused.Status >= 500:
		cause = refusedUnavailable
	}
	return g.refused(cause, problem{Status: refused.Status, Detail: refused.Reason})
}

// seat is one of the connections that a caller may have.
type seat struct {
	limiter *auth.Limiter // nil if they are not counted
	user    string
	leave   func()
	used    bool
}

// enter takes a seat for a caller.
func (g *Gateway) enter(r *http.Request) (*seat, error) {
	p := &seat{limiter: g.opts.Connections, user: callerOf(r).user()}
	if p.user == "" { // everyone without a name is not one user
		p.limiter = nil
	}
	if p.limiter == nil {
		return p, nil
	}
	var ok bool
	if p.leave, ok = p.limiter.Enter(p.user); !ok {
		return nil, g.refused(refusedBusy, problem{Status: http.StatusTooManyRequests, Detail: fmt.Sprintf("user %q has as many connections as may be: close one", p.user)})
	}
	return p, nil
}

// taken says that there is a connection now, and how a kick ends it. left is
// called when it has ended.
func (p *seat) taken(end func(reason string)) (left func()) {
	p.used = true
	if p.limiter == nil {
		return func() {}
	}
	unregister := p.limiter.Register(p.user, end)
	return func() { unregister(); p.leave() }
}

// missed leaves the seat if there came no connection.
func (p *seat) missed() {
	if p.limiter != nil && !p.used {
		p.leave()
	}
}

// kick ends the connections of a user.
func (g *Gateway) kick(w http.ResponseWriter, r *http.Request) {
	n := g.opts.Connections.Kick(r.PathValue("user"), "kicked")
	g.metrics.kicked.Add(float64(n))
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"user": r.PathValue("user"), "ended": n})
}

// ticket issues a permission for one thing to those who have it.
func (g *Gateway) ticket(w http.ResponseWriter, r *http.Request) {
	token, err := g.issue(w, r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusCreated, map[string]string{"ticket": token})
}

func (g *Gateway) issue(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := g.readBody(w, r)
	if err != nil {
		return "", err
	}
	var want struct {
		Action  string `json:"action"`
		Name    string `json:"name"`
		Seconds int    `json:"seconds"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&want); err != nil {
		return "", problem{Status: http.StatusBadRequest, Detail: `want {"action": "read group", "name": "chat.garden", "seconds": 60}: ` + err.Error()}
	}
	for _, action := range []auth.Action{auth.ReadGroup, auth.WriteGroup, auth.ReadStream, auth.CallTask, auth.RevokeTask} {
		if action.String() != want.Action {
			continue
		}
		c := callerOf(r)
		if err := g.allow(c, action, want.Name); err != nil {
			return "", err
		}
		token, err := g.opts.Tickets.Issue(c.user(), action, want.Name, time.Duration(want.Seconds)*time.Second)
		if err != nil {
			return "", problem{Status: http.StatusUnprocessableEntity, Detail: err.Error()}
		}
		return token, nil
	}
	return "", fields(http.StatusUnprocessableEntity, FieldError{"action", "is none of read group, write group, read stream, call task and revoke task"})
}
