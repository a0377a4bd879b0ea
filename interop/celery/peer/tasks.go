package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

var tasks = []rhubarb.Runnable{
	rhubarb.Define("interop.add", add, rhubarb.Positional()),
	rhubarb.Define("interop.echo", echo),
	rhubarb.Define("interop.types", func(_ context.Context, t Types) (Types, error) { return t, nil }),
	rhubarb.Define("interop.fail", func(_ context.Context, f Fault) (rhubarb.None, error) {
		return rhubarb.None{}, ValueError(fmt.Sprint(f.Text, ", ", f.Number))
	}),
	rhubarb.Define("interop.flaky", flaky),
	rhubarb.Define("interop.hopeless", hopeless, rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 1})),
	rhubarb.Define("interop.sleep", sleep),
	rhubarb.Define("interop.tidy", tidy),
	rhubarb.Define("interop.limited", sleep, rhubarb.TimeLimits(time.Second, 0)),
	rhubarb.Define("interop.quiet", quiet, rhubarb.IgnoreResult()),
	rhubarb.Define("interop.reject", func(context.Context, rhubarb.None) (rhubarb.None, error) {
		return rhubarb.None{}, rhubarb.Reject("not mine")
	}),
	rhubarb.Define("interop.ignore", func(context.Context, rhubarb.None) (rhubarb.None, error) {
		return rhubarb.None{}, rhubarb.Ignore
	}),
	rhubarb.Define("interop.progress", func(ctx context.Context, gate string) (string, error) {
		return "done", errors.Join(rhubarb.Progress(ctx, 1, 2), wait(ctx, gate))
	}),
	rhubarb.Define("interop.custom", custom),
	rhubarb.Define("interop.tracked", func(ctx context.Context, gate string) (string, error) {
		return "done", wait(ctx, gate)
	}, rhubarb.TrackStarted()),
	rhubarb.Define("interop.gated", func(ctx context.Context, gate string) (string, error) {
		return "open", wait(ctx, gate)
	}),
	rhubarb.Define("interop.note", note),
	rhubarb.Define("interop.headers", func(ctx context.Context, _ rhubarb.None) ([]string, error) {
		h := rhubarb.Current(ctx).Headers
		return []string{h["tenant"], h["trace"]}, nil
	}),
	rhubarb.Define("interop.about", about),
	rhubarb.Define("interop.parent", parent),
	rhubarb.Define("interop.size", func(_ context.Context, text string) (int, error) { return len(text), nil }),
	rhubarb.Define("interop.remember", func(_ context.Context, id string) (string, error) { return id, nil }),
}

// Pair is two numbers.
type Pair struct {
	X int `json:"x"`
	Y int `json:"y"`
}

func add(_ context.Context, p Pair) (int, error) { return p.X + p.Y, nil }

func echo(_ context.Context, v json.RawMessage) (json.RawMessage, error) { return v, nil }

// Types are kombu's.
type Types struct {
	When  rhubarb.DateTime  `json:"when"`
	Local rhubarb.DateTime  `json:"local"`
	Day   rhubarb.Date      `json:"day"`
	Clock rhubarb.TimeOfDay `json:"clock"`
	Price rhubarb.Decimal   `json:"price"`
	ID    rhubarb.UUID      `json:"id"`
	Blob  rhubarb.Bytes     `json:"blob"`
}

// Fault is what an error is made of.
type Fault struct {
	Text   any `json:"text"`
	Number any `json:"number"`
}

// ValueError and KeyError bear the names that Python gives them.
type (
	ValueError string
	KeyError   string
)

func (e ValueError) Error() string { return string(e) }
func (e KeyError) Error() string   { return string(e) }

func flaky(ctx context.Context, times int) (int, error) {
	if n := rhubarb.Current(ctx).Retries; n >= times {
		return n, nil
	}
	return 0, rhubarb.Retry(KeyError("not yet"), time.Second)
}

func hopeless(context.Context, rhubarb.None) (rhubarb.None, error) {
	return rhubarb.None{}, rhubarb.Retry(ValueError("never"), time.Second)
}

func sleep(ctx context.Context, seconds float64) (float64, error) {
	t := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
		return seconds, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func tidy(ctx context.Context, seconds float64) (string, error) {
	_, err := sleep(ctx, seconds)
	if errors.Is(err, rhubarb.ErrSoftLimit) {
		return "tidied up", nil
	}
	return "slept", err
}

func quiet(context.Context, rhubarb.None) (string, error) { return "nobody hears it", nil }

// Oven is a state's meta.
type Oven struct {
	Oven int  `json:"oven"`
	Hot  bool `json:"hot"`
}

func custom(ctx context.Context, gate string) (string, error) {
	return "baked", errors.Join(rhubarb.UpdateState(ctx, "BAKING", Oven{3, true}), wait(ctx, gate))
}

// wait waits until the file is there.
func wait(ctx context.Context, gate string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(gate); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Note is a word for a file.
type Note struct {
	File string `json:"file"`
	Word string `json:"word"`
}

func note(_ context.Context, n Note) (words []string, err error) {
	f, err := os.OpenFile(n.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprint(f, n.Word+" ")
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(n.File)
	return strings.Fields(string(text)), err
}

// About is what a task knows of itself.
type About struct {
	ID      string  `json:"id"`
	Root    string  `json:"root_id"`
	Parent  *string `json:"parent_id"`
	Retries int     `json:"retries"`
	Queue   string  `json:"queue"`
}

func about(ctx context.Context, _ rhubarb.None) (About, error) {
	inv := rhubarb.Current(ctx)
	a := About{ID: inv.ID, Root: inv.RootID, Retries: inv.Retries, Queue: inv.Queue}
	if inv.ParentID != "" {
		a.Parent = &inv.ParentID
	}
	return a, nil
}

// Child says where to send a task, and its id.
type Child struct {
	Queue string `json:"queue"`
	Child string `json:"child"`
}

func parent(ctx context.Context, c Child) (string, error) {
	call, err := rhubarb.NewCall("interop.add", rhubarb.Args{Args: []any{20, 22}}, rhubarb.Queue(c.Queue), rhubarb.TaskID(c.Child))
	if err != nil {
		return "", err
	}
	return c.Child, rhubarb.AppOf(ctx).Send(ctx, call)[0].Err
}
