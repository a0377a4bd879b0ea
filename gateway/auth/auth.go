package auth

import (
	"errors"
	"net/http"
	"slices"
)

// An Authenticator finds out who makes a request. Any number of goroutines may
// use one at once.
type Authenticator interface {
	// Authenticate returns what the caller may do. The error is [ErrNone] when
	// the request has no credentials of the kind, else an [*Error]. It may
	// wait, and stops when the request's context ends.
	Authenticate(r *http.Request) (*Grant, error)
}

// Error says why a request may not pass.
type Error struct {
	// Status is 401 when other credentials would help, 403 when none would,
	// and 503 when it could not be found out.
	Status int

	// Reason says what is wrong and what to do. A client may read it: it has
	// no part of the credentials in it and no address of a server.
	Reason string

	// Err is the cause of a 503, for the log alone; nil for the others.
	Err error
}

// Error is the text for the log, with the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return "auth: " + e.Reason + ": " + e.Err.Error()
	}
	return "auth: " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrNone is the [*Error] of a request without credentials: a 401.
var ErrNone error = &Error{
	Status: http.StatusUnauthorized,
	Reason: "the request has no credentials: send a token as Authorization: Bearer <token>, or log in",
}

func refuse(reason string) *Error {
	return &Error{Status: http.StatusUnauthorized, Reason: reason}
}

func unavailable(reason string, err error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Reason: reason, Err: err}
}

// Any tries authenticators in order. The first that finds credentials of its
// kind decides, even if a later one would grant; when none does, the error is
// [ErrNone].
func Any(authenticators ...Authenticator) Authenticator {
	return inOrder(slices.Clone(authenticators))
}

type inOrder []Authenticator

func (all inOrder) Authenticate(r *http.Request) (*Grant, error) {
	for _, a := range all {
		if g, err := a.Authenticate(r); !errors.Is(err, ErrNone) {
			return g, err
		}
	}
	return nil, ErrNone
}

// Anonymous gives everyone the grant. It belongs at the end of [Any].
func Anonymous(g Grant) Authenticator { return anonymous(g) }

type anonymous Grant

func (a anonymous) Authenticate(*http.Request) (*Grant, error) {
	g := Grant(a)
	return &g, nil
}
