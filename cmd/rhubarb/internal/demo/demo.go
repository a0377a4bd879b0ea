package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/sse"
)

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{
		Name: "demo", Cmd: &command{},
		Help: "Show it all on a web page: run tasks, watch them live, kill their workers.",
	}
}

type command struct {
	Addr string `name:"addr" default:"localhost:8000" help:"Address to listen on (${default})."`
	Node string `name:"node" hidden:"" help:"Be a worker of that name for the demo at the other end of stdin."`
}

// Limits of the HTTP server. There is no limit on writing, since streams last.
const (
	headerTimeout = 10 * time.Second
	stopGrace     = 3 * time.Second
)

// Run serves the page until ctx ends, or is one of its workers.
func (c *command) Run(ctx context.Context, env *cli.Env) error {
	if strings.HasPrefix(env.URL, "mem:") {
		return cli.Exit(cli.BadInput, errors.New("the demo's workers are processes of their own, which cannot share mem: with it: leave --url away"))
	}
	if c.Node != "" {
		return work(ctx, env, c.Node)
	}
	ln, err := listen(ctx, c.Addr) // first, so that nothing starts in vain
	if err != nil {
		return err
	}
	defer ln.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start workers from: %w", err)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	workers := newSupervisor([]string{"worker-1", "worker-2"}, starter(self, env), env.Log)
	layer := app.Engines().Layer
	if layer == nil {
		return cli.Exit(cli.BadInput, errors.New("the demo needs a channel layer, which this engine has not: leave --url away"))
	}
	hub, err := channels.Open(ctx, layer, &channels.Options{Logger: env.Log})
	if err != nil {
		return err
	}
	defer hub.Close()
	srv, err := newServer(app, hub, workers, env.Log, loopback(ln.Addr()))
	if err != nil {
		return err
	}
	if !loopback(ln.Addr()) {
		env.Log.Warn("everyone who reaches this address may call the demo's tasks and kill its workers", "addr", ln.Addr().String())
	}
	env.Log.Info("the demo is open", "url", "http://"+shown(c.Addr, ln.Addr()), "pid", os.Getpid())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return workers.Run(ctx) })
	group.Go(func() error { return hub.Run(ctx) })
	group.Go(func() error { return srv.board.Run(ctx) })
	group.Go(func() error { return serve(ctx, ln, srv, env.Log) })
	return group.Wait()
}

// starter makes the command that is a worker on the same engine.
func starter(self string, env *cli.Env) func(name string) *exec.Cmd {
	return func(name string) *exec.Cmd {
		args := []string{"demo", "--node", name, "--data", env.Data, "--log-level", "warn"}
		if env.JSON {
			args = append(args, "--json")
		}
		cmd := exec.Command(self, args...)
		// In the environment a URL's password is not seen by other users.
		cmd.Env = append(os.Environ(), "RHUBARB_URL="+env.URL)
		cmd.Stdout, cmd.Stderr = env.Stdout, env.Stderr
		return cmd
	}
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use: stop the program that listens there or choose another with --addr", addr)
	}
	return nil, cli.Exit(cli.BadInput, fmt.Errorf("listen on %s: %w", addr, err))
}

// shown is the address as a person types it: the name that was asked for and
// the port that was given.
func shown(asked string, got net.Addr) string {
	host, _, err := net.SplitHostPort(asked)
	_, port, err2 := net.SplitHostPort(got.String())
	if err != nil || err2 != nil {
		return got.String()
	}
	if host == "" { // every address of this machine
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// serve answers requests until ctx ends, then ends streams and waits for the
// rest.
func serve(ctx context.Context, ln net.Listener, s *server, log *slog.Logger) error {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	sse.Prepare(srv)
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(ln) }() // ends with Shutdown or Close below
	select {
	case err := <-stopped:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	s.Drain(end)
	err := srv.Shutdown(end)
	if err != nil {
		err = srv.Close()
	}
	<-stopped
	return err
}
