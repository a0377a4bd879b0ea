package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

type deadCmd struct {
	List  listDead    `cmd:"" help:"List them, the oldest first."`
	Show  showDead    `cmd:"" help:"Show one whole."`
	Retry restoreDead `cmd:"" help:"Put them back into their queues."`
	Drop  dropDead    `cmd:"" help:"Remove them for good."`
}

type parkedCmd struct {
	List    listParked    `cmd:"" help:"List them, the oldest first."`
	Release restoreParked `cmd:"" help:"Put them back into their queues."`
	Drop    dropParked    `cmd:"" help:"Remove them for good."`
}

type (
	listDead      struct{ listShelf }
	showDead      struct{ showShelf }
	restoreDead   struct{ changeShelf }
	dropDead      struct{ dropShelf }
	listParked    struct{ listShelf }
	restoreParked struct{ changeShelf }
	dropParked    struct{ dropShelf }
)

func (c *listDead) Run(ctx context.Context, env *Env) error { return c.list(ctx, env, engine.Dead) }
func (c *showDead) Run(ctx context.Context, env *Env) error { return c.show(ctx, env, engine.Dead) }
func (c *dropDead) Run(ctx context.Context, env *Env) error { return c.drop(ctx, env, engine.Dead) }

func (c *listParked) Run(ctx context.Context, env *Env) error { return c.list(ctx, env, engine.Parked) }
func (c *dropParked) Run(ctx context.Context, env *Env) error { return c.drop(ctx, env, engine.Parked) }

func (c *restoreDead) Run(ctx context.Context, env *Env) error {
	return c.change(ctx, env, engine.Dead, "retried", engine.Broker.Restore)
}

func (c *restoreParked) Run(ctx context.Context, env *Env) error {
	return c.change(ctx, env, engine.Parked, "released", engine.Broker.Restore)
}

// shelfPage is how many entries are asked for at once.
const shelfPage = 500

// shelved yields what is on a shelf, the oldest first.
func shelved(ctx context.Context, b engine.Broker, shelf engine.Shelf) iter.Seq2[engine.Shelved, error] {
	return func(yield func(engine.Shelved, error) bool) {
		after := ""
		for {
			page, err := b.Shelved(ctx, shelf, after, shelfPage)
			if err != nil {
				yield(engine.Shelved{}, engineError(fmt.Errorf("list %s messages: %w", shelf, err)))
				return
			}
			for _, m := range page {
				if after = m.ID; !yield(m, nil) {
					return
				}
			}
			if len(page) < shelfPage {
				return
			}
		}
	}
}

// shelvedDocument is a shelved message as --json shows it.
type shelvedDocument struct {
	ID         string          `json:"id"`
	Task       string          `json:"task,omitempty"`
	Queue      string          `json:"queue"`
	Priority   int             `json:"priority"`
	Reason     string          `json:"reason"`
	Deliveries int             `json:"deliveries"`
	Since      time.Time       `json:"since"`
	Headers    json.RawMessage `json:"headers,omitempty"`
	Properties json.RawMessage `json:"properties,omitempty"`
	Body       string          `json:"body,omitempty"`
	BodyBytes  int             `json:"body_bytes"`
}

func documentOf(m engine.Shelved) shelvedDocument {
	return shelvedDocument{
		ID: m.ID, Task: m.Task, Queue: m.Queue, Priority: m.Priority, Reason: m.Reason,
		Deliveries: m.Deliveries, Since: m.Since.UTC(), BodyBytes: len(m.Body),
	}
}

type listShelf struct {
	Limit int `name:"limit" short:"n" default:"100" help:"At most so many (${default})."`
}

func (c *listShelf) list(ctx context.Context, env *Env, shelf engine.Shelf) error {
	if c.Limit < 1 {
		return badInput("--limit %d is below 1", c.Limit)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	t, n := env.table("ID", "TASK", "QUEUE", "TRIES", "AGE", "REASON"), 0
	for m, err := range shelved(ctx, app.Engines().Broker, shelf) {
		if err != nil {
			return err
		}
		if n++; n > c.Limit {
			env.note("there are more: raise --limit")
			break
		}
		if env.JSON {
			if err := env.print(documentOf(m)); err != nil {
				return err
			}
			continue
		}
		t.row(m.ID, orDash(m.Task), m.Queue, m.Deliveries, human(time.Since(m.Since)), m.Reason)
	}
	if n == 0 && !env.JSON {
		env.note("there are no %s messages", shelf)
	}
	if n == 0 || env.JSON {
		return nil
	}
	return t.flush()
}

type showShelf struct {
	ID string `arg:"" help:"The message's id."`
}

func (c *showShelf) show(ctx context.Context, env *Env, shelf engine.Shelf) error {
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	for m, err := range shelved(ctx, app.Engines().Broker, shelf) {
		if err != nil {
			return err
		}
		if m.ID == c.ID {
			return showShelved(env, m)
		}
	}
	return missing(shelf, c.ID)
}

func showShelved(env *Env, m engine.Shelved) error {
	if env.JSON {
		d := documentOf(m)
		d.Body = string(m.Body) // what is not UTF-8 is shown as such
		if json.Valid(m.Headers) {
			d.Headers = m.Headers
		}
		if json.Valid(m.Properties) {
			d.Properties = m.Properties
		}
		return env.print(d)
	}
	t := env.table()
	t.row("id", m.ID)
	t.row("task", orDash(m.Task))
	t.row("queue", m.Queue)
	t.row("reason", m.Reason)
	t.row("tries", m.Deliveries)
	t.row("since", m.Since.Local().Format(time.DateTime)+" ("+ago(time.Since(m.Since))+")")
	t.row("content", m.ContentType+" "+m.ContentEncoding)
	t.row("headers", printable(m.Headers))
	t.row("body", printable(m.Body))
	return t.flush()
}

func missing(shelf engine.Shelf, id string) error {
	return Exit(Failed, fmt.Errorf("there is no %s message %s: see %s list", shelf, id, shelf))
}

type changeShelf struct {
	IDs []string `arg:"" name:"id" optional:"" help:"Ids of messages."`
	All bool     `name:"all" help:"All of them."`
}

func (c *changeShelf) check() error {
	if c.All == (len(c.IDs) > 0) {
		return badInput("name the ids, or say --all")
	}
	return nil
}

// change applies do to the messages that are named, a page at a time.
func (c *changeShelf) change(ctx context.Context, env *Env, shelf engine.Shelf, done string,
	do func(engine.Broker, context.Context, engine.Shelf, []string) []error) error {
	if err := c.check(); err != nil {
		return err
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	b, ids := app.Engines().Broker, c.IDs
	if c.All {
		for m, err := range shelved(ctx, b, shelf) {
			if err != nil {
				return err
			}
			ids = append(ids, m.ID)
		}
	}
	n, errs := 0, []error(nil)
	for i, err := range do(b, ctx, shelf, ids) {
		switch {
		case err == nil:
			n++
		case errors.Is(err, engine.ErrNotFound):
			errs = append(errs, missing(shelf, ids[i]))
		default:
			errs = append(errs, engineError(fmt.Errorf("%s message %s: %w", shelf, ids[i], err)))
		}
	}
	if env.JSON {
		errs = append(errs, env.print(map[string]any{done: n}))
	} else if n > 0 || len(errs) == 0 {
		env.note("%s %s", done, count(n, "message"))
	}
	return errors.Join(errs...)
}

type dropShelf struct {
	changeShelf
	Yes bool `name:"yes" short:"y" help:"Do not ask."`
}

func (c *dropShelf) drop(ctx context.Context, env *Env, shelf engine.Shelf) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.Yes {
		what := count(len(c.IDs), string(shelf)+" message")
		if c.All {
			what = "all " + string(shelf) + " messages"
		}
		if err := env.confirm("Drop " + what + " for good?"); err != nil {
			return err
		}
	}
	return c.change(ctx, env, shelf, "dropped", engine.Broker.Drop)
}
