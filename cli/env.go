package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// Opener opens the engines that a URL names; dir is where the embedded engine
// keeps its data. Closing what it returns frees them.
type Opener func(ctx context.Context, url, dir string, log *slog.Logger) (engine.Set, io.Closer, error)

// Env is what a subcommand gets: the program around it, the global flags, and
// where to write. Its methods may be called at once.
type Env struct {
	// Name, Version and Tasks are the program's.
	Name    string
	Version string
	Tasks   []rhubarb.Runnable

	// URL and Data are the flags --url and --data. An empty URL means the
	// embedded engine in the directory Data. A process that this one starts is
	// given both as flags to work on the same engine.
	URL  string
	Data string

	// JSON is the flag --json.
	JSON bool

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// Log writes to Stderr, at the level of --log-level.
	Log *slog.Logger

	opener Opener
	routes []rhubarb.Route
	color  bool
	asks   bool // a person can be asked
	tty    bool

	mu     sync.Mutex
	app    *rhubarb.App
	closer io.Closer
}

// globals are the flags of every subcommand.
type globals struct {
	URL      string           `name:"url" placeholder:"URL" env:"RHUBARB_URL,CELERY_BROKER_URL" help:"Engine: redis://host:6379/0, nats://host:4222, mem: (this process only), or nothing for the embedded one." group:"Flags of every command:"`
	Results  string           `name:"results-url" placeholder:"URL" env:"RHUBARB_RESULTS_URL,CELERY_RESULT_BACKEND" help:"Results on the same Redis, in another database or with another prefix." group:"Flags of every command:"`
	Data     string           `name:"data" placeholder:"DIR" env:"RHUBARB_DATA" default:"rhubarb-data" help:"Data directory of the embedded engine (${default})." group:"Flags of every command:"`
	Fsync    string           `name:"fsync" env:"RHUBARB_FSYNC" enum:"second,always" default:"second" help:"When the embedded engine syncs to disk: each second or always (${default})." group:"Flags of every command:"`
	LogLevel slog.Level       `name:"log-level" env:"RHUBARB_LOG_LEVEL" default:"info" help:"Log from debug, info, warn or error on (${default})." group:"Flags of every command:"`
	Routes   []route          `name:"route" sep:"none" placeholder:"TASK=QUEUE" help:"Send a task, or those of a pattern such as mail.*, to a queue; QUEUE:3 gives a priority as well. May be given again." group:"Flags of every command:"`
	JSON     bool             `name:"json" help:"Write JSON, one document per line." group:"Flags of every command:"`
	Version  kong.VersionFlag `name:"version" help:"Print the version and exit." group:"Flags of every command:"`
}

func (p Program) env(g *globals, stdout, stderr io.Writer) (*Env, error) {
	e := &Env{
		Name: p.name(), Version: p.version(), Tasks: p.Tasks, URL: g.URL, Data: g.Data, JSON: g.JSON,
		Stdin: p.Stdin, Stdout: stdout, Stderr: stderr, opener: p.Open,
		tty: isTerminal(stdout), color: isTerminal(stdout) && wantsColor(),
	}
	e.asks = p.Stdin != nil || isTerminal(os.Stdin) && isTerminal(stderr)
	for _, r := range g.Routes {
		e.routes = append(e.routes, rhubarb.Route(r))
	}
	if e.Stdin == nil {
		e.Stdin = os.Stdin
	}
	if e.opener == nil {
		e.opener = dialer(g.Results, g.Fsync == "always")
	}
	e.Log = newLogger(stderr, g.LogLevel, g.JSON)
	return e, nil
}

func newLogger(w io.Writer, level slog.Level, asJSON bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	switch {
	case asJSON:
		return slog.New(slog.NewJSONHandler(w, opts))
	case isTerminal(w):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !wantsColor()}))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// App returns an app on the engine that the flags name. The first call opens
// the engine; it is closed when the subcommand has returned.
func (e *Env) App(ctx context.Context) (*rhubarb.App, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.app != nil {
		return e.app, nil
	}
	set, closer, err := e.opener(ctx, e.URL, e.Data, e.Log)
	if err != nil {
		if ctx.Err() != nil {
			return nil, Exit(Interrupted, err)
		}
		return nil, Exit(Unreachable, err)
	}
	app, err := rhubarb.New(set, &rhubarb.Options{Routes: e.routes})
	if err != nil {
		return nil, errors.Join(Exit(BadInput, err), closer.Close())
	}
	e.app, e.closer = app, closer
	return app, nil
}

// Terminal reports whether a person reads Stdout.
func (e *Env) Terminal() bool { return e.tty }

func (e *Env) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closer == nil {
		return nil
	}
	return e.closer.Close()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// wantsColor follows no-color.org.
func wantsColor() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }
