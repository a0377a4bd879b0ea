package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/rhubarb-go/rhubarb/event"
)

// eventsCmd shows the events of workers and clients, as celery events --dump
// does.
type eventsCmd struct {
	Type []string `name:"type" placeholder:"PATTERN" help:"Only these types, such as 'task-*'; may be repeated."`
}

// Run shows events until ctx ends.
func (c *eventsCmd) Run(ctx context.Context, env *Env) error {
	for _, p := range c.Type {
		if _, err := path.Match(p, ""); err != nil {
			return badInput("--type %.60q is not a pattern such as 'task-*': %v", p, err)
		}
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	events, err := event.Receive(ctx, app.Engines().Broker, &event.ReceiveOptions{Wake: true})
	if err != nil {
		return engineError(err)
	}
	env.note("listening")
	d := dumper{env: env, names: map[string]string{}}
	for e, err := range events {
		if err != nil {
			env.Log.Warn("an event that cannot be read", "err", err)
			continue
		}
		d.learn(e)
		if !c.wants(e.Type) {
			continue
		}
		if err := d.show(e); err != nil {
			return err
		}
	}
	return nil
}

func (c *eventsCmd) wants(kind string) bool {
	return len(c.Type) == 0 || slices.ContainsFunc(c.Type, func(p string) bool {
		ok, _ := path.Match(p, kind) // checked by Run
		return ok
	})
}

// dumper shows an event in a line, and knows the names of the tasks that are
// under way: most events have but the id.
type dumper struct {
	env   *Env
	names map[string]string
	order []string // ids, the oldest first
}

// maxNames is how many tasks' names are known. celery/events/dumper.py
// TASK_NAMES.
const maxNames = 4095

func (d *dumper) learn(e event.Event) {
	id, name := e.TaskID(), e.Text("name")
	if id == "" || name == "" {
		return
	}
	if _, known := d.names[id]; !known {
		d.order = append(d.order, id)
	}
	d.names[id] = name
	if len(d.order) > maxNames {
		delete(d.names, d.order[0])
		d.order = d.order[1:]
	}
}

func (d *dumper) show(e event.Event) error {
	if d.env.JSON {
		return d.env.print(e)
	}
	at := cmp.Or(e.Time, e.Received).UTC()
	line := fmt.Sprintf("%s [%s] %s", oneLine(e.Hostname), at.Format("2006-01-02 15:04:05.000000"), oneLine(title(e.Type)))
	if id := e.TaskID(); id != "" {
		line += fmt.Sprintf(": %s(%s)", oneLine(cmp.Or(d.names[id], "?")), oneLine(id))
	}
	if facts := d.facts(e); facts != "" {
		line += " " + facts
	}
	_, err := fmt.Fprintln(d.env.Stdout, d.env.paint(eventColor(e), line))
	return err
}

// title is an event's type in words. celery/events/dumper.py HUMAN_TYPES.
func title(kind string) string {
	switch kind {
	case "worker-online":
		return "started"
	case "worker-heartbeat":
		return "heartbeat"
	case "worker-offline":
		return "shutdown"
	}
	return strings.ReplaceAll(kind, "-", " ")
}

func eventColor(e event.Event) string {
	switch e.Type {
	case "task-succeeded":
		return green
	case "task-failed", "task-rejected":
		return red
	case "task-retried", "task-revoked":
		return yellow
	}
	return ""
}

// facts are the fields of the event's own that say something.
func (d *dumper) facts(e event.Event) string {
	var facts []string
	for name, value := range e.Fields() {
		if s := fact(value); s != "null" && name != "uuid" && name != "name" {
			facts = append(facts, oneLine(name)+"="+oneLine(s))
		}
	}
	return strings.Join(facts, " ")
}

func fact(value json.RawMessage) string {
	if len(value) > maxShown {
		return printable(value)
	}
	return plainJSON(value)
}

// oneLine quotes text that would need several, or that could steer a terminal.
func oneLine(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}
