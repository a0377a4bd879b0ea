package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/worker"
)

type serveCmd struct {
	workerFlags
	edgeFlags

	Config      configFile    `name:"config" short:"c" placeholder:"FILE" help:"Read flags from this file, in TOML: group = [\"chat.*\"]. Those given here, or in the environment, win."`
	Addr        string        `name:"addr" default:"localhost:8080" help:"Address to listen on (${default})."`
	Concurrency int           `name:"concurrency" placeholder:"N" help:"With --worker: how many tasks may run at once (100)."`
	Worker      bool          `name:"worker" help:"Run tasks in this process as well."`
	AnyTask     bool          `name:"any-task" help:"Accept calls of tasks that this program does not know, for workers elsewhere."`
	Token       string        `name:"token" env:"RHUBARB_HTTP_TOKEN" placeholder:"TOKEN" help:"Bearer token that every request needs, health checks apart."`
	Origins     []string      `name:"origin" placeholder:"URL" help:"A further site whose pages may call and read, such as https://app.example.org. May be repeated."`
	Hosts       []string      `name:"host" placeholder:"NAME" help:"A name under which it may be asked (any; on localhost without a token, localhost). May be repeated."`
	Groups      []string      `name:"group" placeholder:"NAME" help:"A group of connections to open over HTTP, or a pattern such as 'chat.*' (none). May be repeated."`
	Keep        time.Duration `name:"keep" default:"0s" placeholder:"TIME" help:"For how long groups keep what clients send to them, for those who come back (${default}: not at all)."`
	MaxBody     int64         `name:"max-body" default:"1048576" placeholder:"BYTES" help:"Largest body of a request (${default})."`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, env *Env) error {
	return c.Config.locate(c.start(ctx, env))
}

func (c *serveCmd) start(ctx context.Context, env *Env) error {
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	var w *worker.Worker
	opts := &gateway.Options{Tasks: env.Tasks, Token: c.Token, Origins: c.Origins, Hosts: c.Hosts, MaxBody: c.MaxBody, Logger: env.Log}
	ln, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := c.guard(opts); err != nil {
		return err
	}
	if opts.Keep, err = keepFor(c.Keep); err != nil {
		return err
	}
	secure, err := c.tlsConfig()
	if err != nil {
		return err
	}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	open := c.Token == "" && opts.Auth == nil
	if open && len(c.Hosts) == 0 && loopback(ln.Addr()) {
		opts.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	if c.AnyTask {
		opts.Unknown = gateway.UnknownAllow
	}
	if c.Worker {
		opts.Beaten = func() time.Time { return w.Beaten() }
	}
	if err := c.openGroups(ctx, app, env, opts); err != nil {
		return err
	}
	if opts.Hub != nil {
		defer opts.Hub.Close()
	}
	g, err := gateway.New(app, opts)
	if err != nil {
		return Exit(BadInput, err)
	}
	if c.Worker {
		if w, err = c.worker(app, env, c.Concurrency, g.Metrics().Run); err != nil {
			return err
		}
	}
	if open && !loopback(ln.Addr()) {
		env.Log.Warn("everyone who reaches this address may call tasks: set RHUBARB_HTTP_TOKEN or a key for tokens, or listen on localhost", "addr", ln.Addr().String())
	}
	return c.all(ctx, ln, g, w, opts.Hub, app, env)
}

// openGroups gives the gateway a hub if groups are to be open.
func (c *serveCmd) openGroups(ctx context.Context, app *rhubarb.App, env *Env, opts *gateway.Options) error {
	if len(c.Groups) == 0 {
		return nil
	}
	for _, g := range c.Groups {
		if _, err := path.Match(g, ""); err != nil {
			return badInput("--group %s: %w", g, err)
		}
	}
	layer, err := layerOf(app)
	if err != nil {
		return err
	}
	if opts.Hub, err = channels.Open(ctx, layer, &channels.Options{Logger: env.Log}); err != nil {
		return engineError(err)
	}
	opts.Groups = func(name string) bool {
		return slices.ContainsFunc(c.Groups, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		})
	}
	return nil
}

// all runs server and worker until ctx ends or one of them fails.
func (c *serveCmd) all(ctx context.Context, ln net.Listener, g *gateway.Gateway, w *worker.Worker, hub *channels.Hub, app *rhubarb.App, env *Env) error {
	group, ctx := errgroup.WithContext(ctx)
	// Until the last connection is closed, those that are open hear what is sent.
	open, closed := context.WithCancel(context.WithoutCancel(ctx))
	if hub != nil {
		group.Go(func() error { return hub.Run(open) })
	}
	group.Go(func() error {
		defer closed()
		return c.serve(ctx, ln, g, env.Log)
	})
	if w != nil {
		group.Go(func() error { return c.run(ctx, w, app, env) })
	}
	env.Log.Info("serving", "url", c.scheme()+"://"+ln.Addr().String(), "tasks", len(env.Tasks))
	return group.Wait()
}

// listen says what to do when it cannot.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use: stop the program that listens there or choose another with --addr", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the address %s needs a privileged user: choose a port above 1023 with --addr", addr)
	}
	return nil, badInput("--addr %s: %w", addr, err)
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// maxSpread is the longest time over which streams are closed at a stop.
const maxSpread = 5 * time.Second

// serve has no limit on writing, since streams last; the gateway itself limits
// the reading of requests.
func (c *serveCmd) serve(ctx context.Context, ln net.Listener, g *gateway.Gateway, log *slog.Logger) error {
	srv := &http.Server{
		Handler: g, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	g.Prepare(srv)
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Serve(ln) }() // ends with Shutdown or Close below
	select {
	case err := <-stopped:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	// Ready turns false, long polls and streams end, then the rest is waited for.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(c.Grace, time.Second))
	defer cancel()
	g.Drain(end, min(c.Grace/2, maxSpread))
	err := srv.Shutdown(end)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-stopped
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("requests were cut off: they outlasted the grace", "grace", c.Grace)
		return nil
	}
	return err
}
