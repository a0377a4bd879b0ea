package rhubarb

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Route says where the calls of some tasks go: an entry of Celery's
// task_routes.
type Route struct {
	// Task is the task's name, or a pattern if it has a "*": Python's fnmatch,
	// where "*" is any text, also with dots, "?" any character, "[ab]" one of
	// some and "[!ab]" one of the others. Upper and lower case differ.
	Task string

	// Queue is where they go. Empty leaves that to the app.
	Queue string

	// Priority, 1 to 9, is theirs unless they have one. Zero leaves it to them.
	Priority int
}

// routes finds the route of a task. celery/app/routes.py MapRoute: names first,
// then patterns in their order.
type routes struct {
	names    map[string]Route
	patterns []pattern
}

type pattern struct {
	route Route
	fits  *regexp.Regexp
}

func newRoutes(list []Route) (routes, error) {
	var rs routes
	for _, r := range list {
		if err := r.check(); err != nil {
			return rs, err
		}
		if strings.Contains(r.Task, "*") {
			fits, err := regexp.Compile(translate(r.Task))
			if err != nil {
				return rs, fmt.Errorf("route %q: the pattern is wrong: %w", r.Task, err)
			}
			rs.patterns = append(rs.patterns, pattern{r, fits})
			continue
		}
		if rs.names == nil {
			rs.names = map[string]Route{}
		}
		if _, twice := rs.names[r.Task]; twice {
			return rs, fmt.Errorf("route %q is there twice", r.Task)
		}
		rs.names[r.Task] = r
	}
	return rs, nil
}

func (r Route) check() error {
	switch {
	case r.Task == "":
		return fmt.Errorf("a route has no task: name one or give a pattern")
	case len(r.Queue) > engine.MaxQueue:
		return fmt.Errorf("route %q: queue name of %d bytes, at most %d are allowed", r.Task, len(r.Queue), engine.MaxQueue)
	case r.Priority < 0 || r.Priority > 9:
		return fmt.Errorf("route %q: priority %d is not between 0 and 9", r.Task, r.Priority)
	case r.Queue == "" && r.Priority == 0:
		return fmt.Errorf("route %q leads nowhere: name a queue or a priority", r.Task)
	}
	return nil
}

// of returns the route of a task; the zero Route if there is none.
func (rs routes) of(task string) Route {
	if r, ok := rs.names[task]; ok {
		return r
	}
	for _, p := range rs.patterns {
		if p.fits.MatchString(task) {
			return p.route
		}
	}
	return Route{}
}

// route gives a call what it leaves open. celery/app/routes.py Router.route:
// what the call says wins.
func (a *App) route(c *Call) {
	r := a.routes.of(c.Task)
	if c.Priority == 0 {
		c.Priority = r.Priority
	}
	if c.Queue != "" {
		return
	}
	if c.Queue = r.Queue; c.Queue == "" {
		c.Queue = a.opts.Queue
	}
}

// translate writes an fnmatch pattern as a regular expression for whole names.
// CPython Lib/fnmatch.py translate.
func translate(glob string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			end := classEnd(glob, i)
			if end < 0 { // no class: the bracket itself
				b.WriteString(`\[`)
				continue
			}
			writeClass(&b, glob[i+1:end])
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// classEnd returns where the class that opens at i closes, or -1. A bracket
// right after the opening one is a member.
func classEnd(glob string, i int) int {
	from := i + 1
	if from < len(glob) && glob[from] == '!' {
		from++
	}
	if from < len(glob) && glob[from] == ']' {
		from++
	}
	if n := strings.IndexByte(glob[min(from, len(glob)):], ']'); n >= 0 {
		return from + n
	}
	return -1
}

func writeClass(b *strings.Builder, class string) {
	b.WriteByte('[')
	if rest, ok := strings.CutPrefix(class, "!"); ok {
		b.WriteByte('^')
		class = rest
	}
	// All but the dash of a range is literal.
	b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(class))
	b.WriteByte(']')
}
