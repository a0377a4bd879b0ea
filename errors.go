package rhubarb

import (
	"errors"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Causes with which a handler's context is cancelled; see [context.Cause].
var (
	// ErrSoftLimit: the soft time limit is over. The handler should tidy up
	// and return before the hard limit.
	ErrSoftLimit = errors.New("soft time limit exceeded")
	// ErrRevoked: the task was revoked.
	ErrRevoked = errors.New("task was revoked")
	// ErrShutdown: the worker stops and its grace is over. The task goes back
	// to its queue.
	ErrShutdown = errors.New("worker is shutting down")
	// ErrSuperseded: this process was thought dead and another one has the
	// task now. What this run still returns or emits is not used.
	ErrSuperseded = errors.New("task was given to another worker")
)

// Ignore, returned by a handler, ends the task without a result: state
// IGNORED. Links are not called.
//
//lint:ignore ST1012 it stands beside Retry and Reject, which are no sentinels
var Ignore = errors.New("ignore the result")

// ErrMaxRetries is the failure of a task whose handler asked for a retry
// without saying why, when none was left. Celery's MaxRetriesExceededError.
var ErrMaxRetries = errors.New("no retry is left")

// ErrNoInvocation is returned where a task's context is needed and ctx is not
// one.
var ErrNoInvocation = errors.New("rhubarb: not inside a task")

var errPermanent = errors.New("permanent")

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string {
	if e.err == nil {
		return "retry"
	}
	return e.err.Error()
}
func (e *retryError) Unwrap() error {
	if e.err == nil {
		return ErrMaxRetries
	}
	return e.err
}

// Retry, returned by a handler, asks for another run after the given wait; a
// negative one leaves the wait to the task's policy. err is why; when no
// retry is left it becomes the task's failure, or [ErrMaxRetries] if it is nil.
func Retry(err error, after time.Duration) error { return &retryError{err, after} }

type rejectError struct{ reason string }

func (e *rejectError) Error() string { return "rejected: " + e.reason }

// Reject, returned by a handler, refuses the message: it is dead-lettered with
// the reason and the task becomes REJECTED.
func Reject(reason string) error { return &rejectError{reason} }

// Rejection returns the reason if err is or wraps what [Reject] returned.
func Rejection(err error) (reason string, ok bool) {
	var r *rejectError
	if !errors.As(err, &r) {
		return "", false
	}
	return r.reason, true
}

// Permanent wraps an error that no policy retries.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w%w", err, permanentMark{})
}

type permanentMark struct{}

func (permanentMark) Error() string        { return "" }
func (permanentMark) Is(target error) bool { return target == errPermanent }

// ArgumentError is a wrong argument. It becomes a Python TypeError on the wire.
type ArgumentError struct {
	// Argument is the name or, for a nameless one, the position ("1").
	// Empty when the arguments as a whole are wrong.
	Argument string
	Problem  string
}

func (e *ArgumentError) Error() string {
	if e.Argument == "" {
		return e.Problem
	}
	return fmt.Sprintf("argument %q: %s", e.Argument, e.Problem)
}

// TaskError is the failure of a task, as its caller gets it.
type TaskError struct {
	// ID and Status of the task: FAILURE, REVOKED, REJECTED or IGNORED.
	ID     string
	Status string
	// Type and Module are the exception's class, for example "ValueError" and
	// "builtins"; for Go errors the Go type and "rhubarb".
	Type   string
	Module string
	// Message is the error's text.
	Message string
	// Traceback is the worker's, if it kept one.
	Traceback string
}

func (e *TaskError) Error() string {
	text := e.Message
	if text == "" {
		text = e.Type
	} else if e.Type != "" {
		text = e.Type + ": " + text
	}
	return fmt.Sprintf("task %s is %s: %s", e.ID, e.Status, text)
}

func taskError(id, status string, r *celery.Result) *TaskError {
	e := &TaskError{ID: id, Status: status}
	if r == nil {
		return e
	}
	if r.Traceback != nil {
		e.Traceback = *r.Traceback
	}
	if x, ok := celery.ExceptionOf(r.Result); ok {
		if status == engine.Rejected && len(x.Args) == 2 {
			x.Args = x.Args[:1] // the other one says whether it was requeued
		}
		e.Type, e.Module, e.Message = x.Type, x.Module, x.Text()
	}
	return e
}
