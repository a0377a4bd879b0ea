package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
)

// groupCmd is what one does with groups of connections.
type groupCmd struct {
	Send    groupSendCmd    `cmd:"" help:"Send an event to all connections of a group."`
	Tail    groupTailCmd    `cmd:"" help:"Show the events of groups as they come."`
	Members groupMembersCmd `cmd:"" help:"Show who is present in a group."`
}

type groupSendCmd struct {
	Group  string   `arg:"" help:"The group's name."`
	Type   string   `arg:"" help:"The event's type, such as chat.message."`
	Fields []string `arg:"" optional:"" help:"Fields as key=value: JSON, or plain text."`
	JSON   string   `name:"fields" placeholder:"JSON" help:"Fields as a JSON object, beside those."`
}

// Run sends the event.
func (c *groupSendCmd) Run(ctx context.Context, env *Env) error {
	if err := engine.CheckGroup(c.Group); err != nil {
		return Exit(BadInput, err)
	}
	e, err := c.event()
	if err != nil {
		return Exit(BadInput, err)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	layer, err := layerOf(app)
	if err != nil {
		return err
	}
	if err := channels.GroupSend(ctx, layer, c.Group, e); err != nil {
		return engineError(err)
	}
	// A publish is not answered. This is, after it.
	if _, err := channels.Members(ctx, layer, c.Group); err != nil {
		return engineError(err)
	}
	return nil
}

func (c *groupSendCmd) event() (channels.Event, error) {
	fields := map[string]json.RawMessage{}
	if c.JSON != "" && json.Unmarshal([]byte(c.JSON), &fields) != nil {
		return channels.Event{}, fmt.Errorf("--fields: %s is not a JSON object such as '{\"message\": \"hello\"}'", c.JSON)
	}
	for _, f := range c.Fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return channels.Event{}, fmt.Errorf("the field %q is not of the form key=value", f)
		}
		fields[name] = valueOf(value, "")
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return channels.Event{}, err
	}
	return channels.JSONEvent(c.Type, raw)
}

type groupTailCmd struct {
	Groups []string `arg:"" help:"The groups' names."`
}

// Run shows events until ctx ends.
func (c *groupTailCmd) Run(ctx context.Context, env *Env) error {
	for _, g := range c.Groups {
		if err := engine.CheckGroup(g); err != nil {
			return Exit(BadInput, err)
		}
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	layer, err := layerOf(app)
	if err != nil {
		return err
	}
	hub, err := channels.Open(ctx, layer, &channels.Options{Logger: env.Log})
	if err != nil {
		return engineError(err)
	}
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error { return hub.Run(ctx) })
	run.Go(func() error { return c.tail(ctx, env, hub) })
	err = errors.Join(run.Wait(), hub.Close())
	if errors.Is(err, engine.ErrClosed) {
		return engineError(err)
	}
	return err
}

func (c *groupTailCmd) tail(ctx context.Context, env *Env, hub *channels.Hub) (err error) {
	failed := make(chan error, 1)
	ch, err := hub.Open(func(e channels.Event) {
		raw, err := e.JSON()
		if err != nil {
			env.Log.Warn("an event that JSON cannot say", "err", err)
			return
		}
		if err := env.print(json.RawMessage(raw)); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	})
	if err != nil {
		return engineError(err)
	}
	defer func() { err = errors.Join(err, ch.Close(context.WithoutCancel(ctx))) }()
	for _, g := range c.Groups {
		if err := ch.Join(ctx, g); err != nil {
			return engineError(err)
		}
	}
	env.note("listening")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

type groupMembersCmd struct {
	Group string `arg:"" help:"The group's name."`
}

// Run shows the members.
func (c *groupMembersCmd) Run(ctx context.Context, env *Env) error {
	if err := engine.CheckGroup(c.Group); err != nil {
		return Exit(BadInput, err)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	layer, err := layerOf(app)
	if err != nil {
		return err
	}
	members, err := channels.Members(ctx, layer, c.Group)
	if err != nil {
		return engineError(err)
	}
	if env.JSON {
		for _, m := range members {
			if err := env.print(m); err != nil {
				return err
			}
		}
		return nil
	}
	if len(members) == 0 {
		env.note("nobody is present in %s", c.Group)
		return nil
	}
	t := env.table("MEMBER", "CONNECTIONS", "INFO")
	for _, m := range members {
		t.row(env.text(m.ID), m.Count, env.text(string(m.Info)))
	}
	return t.flush()
}

func layerOf(app *rhubarb.App) (engine.Layer, error) {
	if l := app.Engines().Layer; l != nil {
		return l, nil
	}
	return nil, badInput("this engine has no channel layer")
}
