package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/control"
)

// NoReply is the exit code when no worker answered: EX_UNAVAILABLE, as celery
// inspect and celery control have it.
const NoReply Code = 69

// remoteFlags are those of both subcommands. celery/bin/control.py.
type remoteFlags struct {
	Method      string   `arg:"" help:"What to ask or tell."`
	Args        []string `arg:"" optional:"" help:"Its arguments."`
	Destination []string `name:"destination" short:"d" placeholder:"NODE,…" help:"Only these workers."`
	Timeout     float64  `name:"timeout" short:"t" default:"1" help:"Seconds to wait for the next reply (${default})."`
}

// form says which arguments a method has: celery/worker/control.py args and
// variadic. Of those with a colon the value is a number.
type form struct {
	names    string
	variadic string
}

var inspectForms = map[string]form{
	"active": {}, "active_queues": {}, "clock": {}, "conf": {names: "with_defaults:bool"}, "memdump": {names: "samples:n"}, "memsample": {},
	"objgraph": {names: "type num:n max_depth:n"}, "ping": {}, "query_task": {variadic: "ids"}, "registered": {variadic: "taskinfoitems"},
	"report": {}, "reserved": {}, "revoked": {}, "scheduled": {}, "stats": {},
}

var controlForms = map[string]form{
	"add_consumer": {names: "queue exchange exchange_type routing_key"}, "autoscale": {names: "max:n min:n"},
	"cancel_consumer": {names: "queue"}, "disable_events": {}, "election": {}, "enable_events": {}, "heartbeat": {},
	"pool_grow": {names: "n:n"}, "pool_restart": {}, "pool_shrink": {names: "n:n"},
	"rate_limit": {names: "task_name rate_limit"}, "revoke": {variadic: "task_id"},
	"revoke_by_stamped_headers": {variadic: "headers"}, "shutdown": {}, "terminate": {names: "signal", variadic: "task_id"},
	"time_limit": {names: "task_name soft:n hard:n"},
}

// arguments turns words into the keyword arguments of the method.
func (f *remoteFlags) arguments(forms map[string]form) (map[string]any, error) {
	form, ok := forms[f.Method]
	if !ok {
		return nil, badInput("no command %q: there are %s", f.Method, strings.Join(slices.Sorted(maps.Keys(forms)), ", "))
	}
	args, words := map[string]any{}, f.Args
	for name := range strings.FieldsSeq(form.names) {
		if len(words) == 0 {
			break
		}
		name, kind, _ := strings.Cut(name, ":")
		v, err := argument(words[0], kind)
		if err != nil {
			return nil, badInput("%s of %s: %w", name, f.Method, err)
		}
		args[name], words = v, words[1:]
	}
	if form.variadic != "" {
		args[form.variadic] = append([]string{}, words...)
	} else if len(words) > 0 {
		return nil, badInput("%s takes the arguments [%s], not %q too", f.Method, form.names, words[0])
	}
	return args, nil
}

func argument(word, kind string) (any, error) {
	switch kind {
	case "n":
		return strconv.ParseFloat(word, 64)
	case "bool":
		return strconv.ParseBool(word)
	}
	return word, nil
}

// call sends the command and shows every reply as it comes.
func (f *remoteFlags) call(ctx context.Context, env *Env, forms map[string]form) (control.Replies, error) {
	args, err := f.arguments(forms)
	if err != nil {
		return nil, err
	}
	if f.Timeout <= 0 || f.Timeout > 1e6 {
		return nil, badInput("the timeout must be more than 0 seconds")
	}
	app, err := env.App(ctx)
	if err != nil {
		return nil, err
	}
	c, err := control.New(app.Engines().Broker, &control.Options{Nodes: f.Destination, Timeout: time.Duration(f.Timeout * float64(time.Second))})
	if err != nil {
		return nil, Exit(BadInput, err)
	}
	replies := control.Replies{}
	err = c.Each(ctx, control.Command{Method: f.Method, Arguments: args}, func(node string, reply json.RawMessage) {
		replies[node] = reply
		if !env.JSON {
			fmt.Fprint(env.Stdout, env.text(said(node, reply)))
		}
	})
	if err != nil {
		return nil, engineError(err)
	}
	if len(replies) == 0 {
		return nil, Exit(NoReply, fmt.Errorf("no nodes replied within the time"))
	}
	return replies, nil
}

// said is a reply as Celery prints it. celery/bin/base.py say_chat and pretty.
func said(node string, reply json.RawMessage) string {
	status, text := pretty(reply)
	return fmt.Sprintf("->  %s: %s\n%s\n", node, status, indent(text))
}

func pretty(reply json.RawMessage) (status, text string) {
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case bytes.HasPrefix(reply, []byte("[")) && json.Unmarshal(reply, &list) == nil:
		if len(list) == 0 {
			return "OK", "- empty -"
		}
		lines := make([]string, len(list))
		for i, item := range list {
			lines[i] = "* " + plainJSON(item)
		}
		return "OK", strings.Join(lines, "\n")
	case json.Unmarshal(reply, &object) == nil && object["ok"] != nil:
		_, text = pretty(object["ok"])
		return "OK", indent(text)
	case object["error"] != nil:
		_, text = pretty(object["error"])
		return "ERROR", indent(text)
	case object != nil:
		var b bytes.Buffer
		if json.Indent(&b, reply, "", "    ") == nil {
			return "OK", b.String()
		}
	}
	return "OK", plainJSON(reply)
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

type inspectCmd struct{ remoteFlags }

// Run asks the workers.
func (c *inspectCmd) Run(ctx context.Context, env *Env) error {
	replies, err := c.call(ctx, env, inspectForms)
	if err != nil {
		return err
	}
	if env.JSON {
		return env.print(replies)
	}
	env.note("\n%s online.", count(len(replies), "node"))
	return nil
}

type controlCmd struct{ remoteFlags }

// Run tells the workers.
func (c *controlCmd) Run(ctx context.Context, env *Env) error {
	replies, err := c.call(ctx, env, controlForms)
	if err != nil || !env.JSON {
		return err
	}
	var list []control.Replies // as Celery prints it
	for _, node := range slices.Sorted(maps.Keys(replies)) {
		list = append(list, control.Replies{node: replies[node]})
	}
	return env.print(list)
}
