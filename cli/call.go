package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/gateway"
)

type callCmd struct {
	Name string   `arg:"" help:"The task's name."`
	Args []string `arg:"" optional:"" help:"Arguments: JSON, or plain text; key=value gives one by name."`

	JSONArgs   string `name:"args" placeholder:"JSON" help:"Positional arguments as a JSON array, ahead of the others."`
	JSONKwargs string `name:"kwargs" placeholder:"JSON" help:"Named arguments as a JSON object."`

	Countdown time.Duration     `name:"countdown" placeholder:"5m" help:"Start after that time."`
	ETA       string            `name:"eta" placeholder:"TIME" help:"Start at that time (RFC 3339)."`
	Expires   string            `name:"expires" placeholder:"1h|TIME" help:"Drop the call if it has not started after or at that time."`
	Queue     string            `name:"queue" short:"q" placeholder:"NAME" help:"Queue to send to."`
	Priority  *int              `name:"priority" placeholder:"0-9" help:"0 is first."`
	ID        string            `name:"id" placeholder:"ID" help:"The task's id (random)."`
	Headers   map[string]string `name:"header" mapsep:"none" placeholder:"KEY=VALUE" help:"A header for the handler. May be repeated."`
	Key       string            `name:"key" placeholder:"KEY" help:"Idempotency key: a later call with it attaches to the first."`

	Wait    bool          `name:"wait" short:"w" help:"Wait for the end and print the result."`
	Follow  bool          `name:"follow" short:"f" help:"Follow the stream, then print the result."`
	Timeout time.Duration `name:"timeout" placeholder:"30s" help:"Give up waiting after that time; the task goes on."`
}

// Help is what call --help says further.
func (c *callCmd) Help() string {
	return `What is JSON is sent as it is and all else as text, as is what the task takes as a string. ` +
		`Put -- ahead of an argument that begins with a dash. The task's id is printed, or with --wait its result.`
}

// Run sends the call.
func (c *callCmd) Run(ctx context.Context, env *Env) error {
	call, err := c.call(env.Tasks)
	if err != nil {
		return Exit(BadInput, err)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	if err := gateway.Check(app, call); err != nil {
		return badInput("call %s: %w", c.Name, err)
	}
	sent := app.Send(ctx, call)[0]
	if sent.Err != nil {
		return engineError(sent.Err)
	}
	ctx, cancel := limit(ctx, c.Timeout)
	defer cancel()
	switch {
	case c.Follow:
		return follow(ctx, env, app, sent.ID, "", true)
	case c.Wait:
		return await(ctx, env, app.Result(sent.ID))
	case env.JSON:
		return env.print(map[string]any{"id": sent.ID, "duplicate": sent.Duplicate})
	}
	_, err = fmt.Fprintln(env.Stdout, sent.ID)
	if sent.Duplicate {
		env.note("an earlier call has the key %q: this is its id", c.Key)
	}
	return err
}

// call makes the call that the arguments and flags say.
func (c *callCmd) call(tasks []rhubarb.Runnable) (*rhubarb.Call, error) {
	var def *rhubarb.Definition
	for _, t := range tasks {
		if d := t.Definition(); d.Name == c.Name {
			def = d
		}
	}
	args, kwargs, err := c.arguments(def)
	if err != nil {
		return nil, err
	}
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	return gateway.NewCall(c.Name, def, args, kwargs, opts...)
}

// arguments gathers what is given in the three ways.
func (c *callCmd) arguments(def *rhubarb.Definition) (args []json.RawMessage, kwargs map[string]json.RawMessage, err error) {
	if c.JSONArgs != "" && json.Unmarshal([]byte(c.JSONArgs), &args) != nil {
		return nil, nil, fmt.Errorf("--args: %s is not a JSON array such as '[1, \"a\"]'", c.JSONArgs)
	}
	if c.JSONKwargs != "" && json.Unmarshal([]byte(c.JSONKwargs), &kwargs) != nil {
		return nil, nil, fmt.Errorf("--kwargs: %s is not a JSON object such as '{\"to\": \"a\"}'", c.JSONKwargs)
	}
	named := map[string]json.RawMessage{}
	for _, arg := range c.Args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || !identifier(name) {
			args = append(args, valueOf(arg, typeAt(def, len(args))))
			continue
		}
		named[name] = valueOf(value, typeOf(def, name))
	}
	if len(named) > 0 && kwargs == nil {
		kwargs = map[string]json.RawMessage{}
	}
	maps.Copy(kwargs, named)
	return args, kwargs, nil
}

// valueOf reads one argument: JSON if it is, else plain text. What the task
// takes as a string is plain text unless it is a JSON string.
func valueOf(s, typ string) json.RawMessage {
	if json.Valid([]byte(s)) && (typ != "string" || strings.HasPrefix(strings.TrimSpace(s), `"`) || s == "null") {
		return json.RawMessage(s)
	}
	raw, _ := json.Marshal(s) // a string always encodes
	return raw
}

func typeAt(def *rhubarb.Definition, i int) string {
	if def == nil || i >= len(def.Params) {
		return ""
	}
	return def.Params[i].Type
}

func typeOf(def *rhubarb.Definition, name string) string {
	if def == nil {
		return ""
	}
	for _, p := range def.Params {
		if p.Name == name || p.Name == "" {
			return p.Type
		}
	}
	return ""
}

// identifier reports whether s could name a Python argument; else "a=b" is a
// plain text.
func identifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func (c *callCmd) options() (opts []rhubarb.CallOption, err error) {
	switch {
	case c.Countdown < 0:
		return nil, fmt.Errorf("--countdown %s is negative: use 0 or more", c.Countdown)
	case c.Countdown > 0 && c.ETA != "":
		return nil, errors.New("--countdown and --eta are both given: choose one")
	case c.Countdown > 0:
		opts = append(opts, rhubarb.Countdown(c.Countdown))
	case c.ETA != "":
		t, err := time.Parse(time.RFC3339, c.ETA)
		if err != nil {
			return nil, fmt.Errorf("--eta %s is not a time such as 2030-01-31T08:00:00Z", c.ETA)
		}
		opts = append(opts, rhubarb.ETA(t))
	}
	if c.Expires != "" {
		opt, err := expires(c.Expires)
		if err != nil {
			return nil, err
		}
		opts = append(opts, opt)
	}
	if c.Queue != "" {
		opts = append(opts, rhubarb.Queue(c.Queue))
	}
	if c.Priority != nil {
		opts = append(opts, rhubarb.Priority(*c.Priority))
	}
	if c.ID != "" {
		opts = append(opts, rhubarb.TaskID(c.ID))
	}
	if c.Key != "" {
		opts = append(opts, rhubarb.IdempotencyKey(c.Key, 0))
	}
	for k, v := range c.Headers {
		opts = append(opts, rhubarb.Header(k, v))
	}
	return opts, nil
}

func expires(s string) (rhubarb.CallOption, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return rhubarb.ExpiresIn(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, fmt.Errorf("--expires %s is neither a duration above 0 such as 1h nor a time such as 2030-01-31T08:00:00Z", s)
	}
	return rhubarb.Expires(t), nil
}

// limit bounds a wait; zero is no bound.
func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}
