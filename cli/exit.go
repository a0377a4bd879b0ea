package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// Code is an exit code.
type Code int

// The exit codes of every subcommand.
const (
	OK          Code = 0
	Failed      Code = 1   // the thing asked for failed
	BadInput    Code = 2   // usage or input
	Unreachable Code = 3   // the engine cannot be reached or opened
	Interrupted Code = 130 // 128 and SIGINT's number, as shells do
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// Exit gives an error the exit code that the program ends with. A nil error
// ends it without a word.
func Exit(code Code, err error) error { return &exitError{code, err} }

type exitError struct {
	code Code
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func badInput(format string, args ...any) error {
	return Exit(BadInput, fmt.Errorf(format, args...))
}

// codeOf finds the exit code of an error.
func codeOf(err error) Code {
	var chosen *exitError
	var wrong *rhubarb.ArgumentError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &chosen):
		return chosen.code
	case errors.Is(err, context.Canceled), errors.Is(err, errInterrupted):
		return Interrupted
	case errors.Is(err, engine.ErrClosed):
		return Unreachable
	case errors.As(err, &wrong), errors.Is(err, engine.ErrLimit), errors.Is(err, engine.ErrPosition):
		return BadInput
	}
	return Failed
}

// usageError points at the help that says how it should have been.
func usageError(err error) error {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return Exit(BadInput, err)
	}
	name := parse.Context.Model.Name
	if n := parse.Context.Selected(); n != nil {
		name = strings.TrimSpace(name + " " + n.Path())
	}
	return badInput("%w (see %s --help)", err, name)
}

// report writes an error, in one line, where people or programs look for it.
func report(w io.Writer, name string, asJSON bool, err error) Code {
	code := codeOf(err)
	if err == nil || err.Error() == "" || code == Interrupted {
		return code
	}
	text := strings.Join(strings.Fields(safe(err.Error())), " ")
	if asJSON {
		raw, _ := json.Marshal(map[string]any{"error": text, "exit": code}) // a string and a number always encode
		fmt.Fprintf(w, "%s\n", raw)
		return code
	}
	fmt.Fprintf(w, "%s: %s\n", name, text)
	return code
}
