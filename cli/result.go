package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/gateway"
)

type resultCmd struct {
	ID      string        `arg:"" help:"The task's id."`
	Wait    bool          `name:"wait" short:"w" help:"Wait for the end and print the result alone."`
	Timeout time.Duration `name:"timeout" placeholder:"30s" help:"Give up waiting after that time; the task goes on."`
}

// Run shows the state. A task that failed is exit code 1.
func (c *resultCmd) Run(ctx context.Context, env *Env) error {
	if err := checkIDs(c.ID); err != nil {
		return err
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	res := app.Result(c.ID)
	if c.Wait {
		ctx, cancel := limit(ctx, c.Timeout)
		defer cancel()
		return await(ctx, env, res)
	}
	s, err := res.State(ctx)
	if err != nil {
		return engineError(err)
	}
	if err := showState(env, s); err != nil {
		return err
	}
	return verdict(s)
}

// await waits for the end of the task and prints its result.
func await(ctx context.Context, env *Env, res *rhubarb.Result[json.RawMessage]) error {
	for s, err := range res.Watch(ctx) {
		if err != nil {
			return waitError(ctx, res.ID(), err)
		}
		if s.Ready() {
			return showResult(env, s)
		}
	}
	return waitError(ctx, res.ID(), engine.ErrClosed)
}

// showResult prints the output of a task, or returns its failure.
func showResult(env *Env, s rhubarb.State) error {
	if env.JSON {
		if err := env.print(gateway.StateOf(s)); err != nil {
			return err
		}
		return silent(verdict(s))
	}
	if err := verdict(s); err != nil {
		return err
	}
	_, err := fmt.Fprintln(env.Stdout, env.text(plainJSON(gateway.StateOf(s).Result)))
	return err
}

// verdict is the failure of a task that ended without success.
func verdict(s rhubarb.State) error {
	switch {
	case !s.Ready() || s.Status == engine.Success || s.Status == engine.Ignored:
		return nil
	case s.Err != nil:
		return Exit(Failed, s.Err)
	}
	return Exit(Failed, &rhubarb.TaskError{ID: s.ID, Status: s.Status})
}

// silent keeps the exit code of an error whose text was printed already.
func silent(err error) error {
	if err == nil {
		return nil
	}
	return Exit(codeOf(err), nil)
}

func showState(env *Env, s rhubarb.State) error {
	if env.JSON {
		return env.print(gateway.StateOf(s))
	}
	t := env.table()
	t.row("id", s.ID)
	t.row("status", env.paint(statusColor(s.Status), s.Status))
	if s.Attempt > 0 {
		t.row("attempt", s.Attempt)
	}
	if !s.Time.IsZero() {
		t.row("since", s.Time.Local().Format(time.DateTime)+" ("+ago(time.Since(s.Time))+")")
	}
	if current, total, ok := s.Progress(); ok {
		t.row("progress", fmt.Sprintf("%d of %d", current, total))
	} else if !s.Ready() && s.Err == nil && len(s.Meta) > 0 {
		t.row("meta", string(s.Meta))
	}
	if s.Status == engine.Success {
		t.row("result", plainJSON(s.Meta))
	}
	return t.flush()
}

// waitError says that a wait is over while the task goes on.
func waitError(ctx context.Context, id string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Exit(Failed, fmt.Errorf("task %s is not over yet: it goes on, ask again with result %s", id, id))
	}
	if ctx.Err() != nil {
		return Exit(Interrupted, context.Cause(ctx))
	}
	return engineError(err)
}

// engineError is an answer that the engine did not give.
func engineError(err error) error {
	if code := codeOf(err); code != Failed {
		return err
	}
	return Exit(Unreachable, err)
}

func checkIDs(ids ...string) error {
	for _, id := range ids {
		if id == "" || len(id) > engine.MaxID {
			return badInput("the task id %.40q has %d bytes, it needs 1 to %d", id, len(id), engine.MaxID)
		}
	}
	return nil
}

type revokeCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids of tasks."`
}

// Run revokes the tasks.
func (c *revokeCmd) Run(ctx context.Context, env *Env) error {
	if err := checkIDs(c.IDs...); err != nil {
		return err
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	if err := app.Revoke(ctx, c.IDs...); err != nil {
		return engineError(err)
	}
	if env.JSON {
		return env.print(map[string]any{"revoked": c.IDs})
	}
	env.note("revoked %s", count(len(c.IDs), "task"))
	return nil
}
