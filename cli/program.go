package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/rhubarb-go/rhubarb"
)

// Main runs the subcommands around the given tasks on the program's arguments
// and exits. It is the whole main function of a program of tasks.
func Main(tasks ...rhubarb.Runnable) { Program{Tasks: tasks}.Main() }

// Program is the subcommands of this package, around tasks, with further
// subcommands of the program's own. The zero value has no tasks and is ready
// to use.
type Program struct {
	// Name is shown in help. Empty means the base name of the executable.
	Name string

	// Summary is one sentence on what the program is, shown in help.
	Summary string

	// Version is printed by --version. Empty means the module version that
	// the binary was built from.
	Version string

	// Tasks are those that the worker runs and the HTTP API offers.
	Tasks []rhubarb.Runnable

	// Commands are subcommands beside those of this package.
	Commands []Command

	// Open opens the engines. Nil means by URL, as the package describes.
	Open Opener

	// Stdin is read for answers to questions. Nil means os.Stdin.
	Stdin io.Reader
}

// Command is a subcommand of a program's own.
type Command struct {
	// Name is what is typed, Help one line on what it does.
	Name string
	Help string

	// Cmd is a pointer to a struct with kong's tags for arguments and flags
	// (github.com/alecthomas/kong) and a method
	//
	//	Run(ctx context.Context, env *cli.Env) error
	//
	// ctx ends when the program should stop. The method returns an error made
	// by [Exit] to choose the exit code; any other error is 1.
	Cmd any
}

// Main runs the program on os.Args and exits. The first SIGINT or SIGTERM ends
// the context of the subcommand, the second one the process at once.
func (p Program) Main() {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		stop(errInterrupted)
		<-signals
		os.Exit(int(Interrupted))
	}()
	os.Exit(p.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Run runs the subcommand that args name, without the program's own name, and
// returns the exit code. When ctx ends, the subcommand stops.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) (exit int) {
	defer func() {
		r := recover()
		code, ok := r.(kongExit) // --help and --version end here
		if !ok && r != nil {
			panic(r)
		}
		if ok {
			exit = int(code)
		}
	}()
	var g grammar
	parser, err := kong.New(&g, p.options(stdout, stderr)...)
	if err != nil {
		return int(report(stderr, p.name(), false, Exit(BadInput, err)))
	}
	parsed, err := parse(parser, args)
	if err != nil {
		asJSON := slices.Contains(args, "--json") // flags do not count yet
		return int(report(stderr, p.name(), asJSON, usageError(err)))
	}
	env, err := p.env(&g.globals, stdout, stderr)
	if err != nil {
		return int(report(stderr, p.name(), g.JSON, err))
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = errors.Join(parsed.Run(env), env.close())
	return int(report(stderr, p.name(), g.JSON, err))
}

// parse refuses bytes that are not text ahead of kong, which replaces them.
func parse(parser *kong.Kong, args []string) (*kong.Context, error) {
	for _, a := range args {
		if !utf8.ValidString(a) {
			return nil, fmt.Errorf("the argument %.60q is not UTF-8", a)
		}
	}
	return parser.Parse(args)
}

func (p Program) options(stdout, stderr io.Writer) []kong.Option {
	opts := []kong.Option{
		kong.Name(p.name()), kong.Description(p.summary()), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(kongExit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoExpandSubcommands: true}),
		kong.Vars{"version": p.name() + " " + p.version()},
	}
	for _, c := range p.Commands {
		opts = append(opts, kong.DynamicCommand(c.Name, c.Help, "", c.Cmd))
	}
	return opts
}

// kongExit carries kong's wish to exit up to Run.
type kongExit int

func (p Program) name() string {
	if p.Name != "" {
		return p.Name
	}
	return filepath.Base(os.Args[0])
}

func (p Program) summary() string {
	if p.Summary != "" {
		return p.Summary
	}
	return "Background tasks and live updates."
}

func (p Program) version() string {
	if p.Version != "" {
		return p.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
