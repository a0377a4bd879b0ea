package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/browser"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/ws"
)

// Options configures a Gateway. The zero value is ready to use.
type Options struct {
	// Tasks are those the gateway knows: it checks their arguments, honours
	// their defaults and describes them in /openapi.json.
	Tasks []rhubarb.Runnable

	// Unknown says what becomes of calls of tasks that are not in Tasks. The
	// zero value allows them only when Tasks is empty.
	Unknown Unknown

	// Token, if set, is needed as a bearer token on every route but the health
	// checks, unless Auth lets a request pass.
	Token string

	// Origins are further sites, for example "https://app.example.org", whose
	// pages may call and read. Empty means the gateway's own only.
	Origins []string

	// Hosts are the names under which the gateway may be asked, without port.
	// Empty means any. A gateway on localhost without a token should name them:
	// a page of another site can point a name of its own at 127.0.0.1 and then
	// counts as the same site (DNS rebinding). Health checks are not held to it.
	Hosts []string

	// Hub, if set, opens groups: their events as server-sent events, sending,
	// and who is present. Whoever may use the gateway may use all that Groups
	// names. The hub must run.
	Hub *channels.Hub

	// Groups says which groups are open. Nil means all.
	Groups func(name string) bool

	// Keep says for how long what clients send to a group is kept in its
	// history; zero is not at all. Nil keeps nothing.
	Keep func(group string) time.Duration

	// Auth finds out who makes a request, and what they may do. Nil lets
	// everyone do everything, or only those who have the Token. With both, the
	// token is for administration: it opens everything, and alone it opens
	// /metrics and /users.
	Auth auth.Authenticator

	// Tickets, if set, issues tickets at POST /tickets. For them to count, have
	// Auth try it as well.
	Tickets *auth.Tickets

	// Connections, if set, bounds the event streams and WebSockets of each user
	// and ends them at POST /users/{user}/kick. Who has no name, being anonymous
	// or having the Token, is not counted.
	Connections *auth.Limiter

	// MaxConnections bounds the open event streams of all together, and the open
	// WebSockets. More are told to come back: an event stream by a retry, a
	// WebSocket by 503. Zero is no bound.
	MaxConnections int

	// Prefix is the path under which the gateway is mounted, for example
	// "/api", without a slash at the end. Empty means the root.
	Prefix string

	// MaxBody bounds the body of a request in bytes. Zero means 1 MiB.
	MaxBody int64

	// MaxWait bounds ?wait= of a state. Zero means one minute.
	MaxWait time.Duration

	// Beaten returns when the engine last answered this process's worker, as
	// worker.Worker.Beaten does. Nil means that no worker runs here; then
	// readiness asks the engine alone.
	Beaten func() time.Time

	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// Unknown says what becomes of calls of tasks that the gateway does not know.
type Unknown uint8

// The values of [Options].Unknown.
const (
	UnknownAuto   Unknown = iota // allow when Tasks is empty, else refuse
	UnknownAllow                 // send; a worker somewhere may know them
	UnknownRefuse                // 404
)

const (
	defaultMaxBody = 1 << 20
	defaultMaxWait = time.Minute
)

// Gateway is the HTTP side of an app. Its methods may be called at once.
type Gateway struct {
	app     *rhubarb.App
	opts    Options
	log     *slog.Logger
	tasks   map[string]*rhubarb.Definition
	token   [sha256.Size]byte
	cross   *http.CrossOriginProtection
	openAPI []byte
	metrics *Metrics
	mux     *http.ServeMux

	streams sse.Server
	edge    *ws.Server
	done    chan struct{} // closed by Drain
	drain   sync.Once
}

// New makes a gateway. Two tasks of one name, an origin that is not one and
// negative limits are errors. Nil options are the defaults.
func New(app *rhubarb.App, opts *Options) (*Gateway, error) {
	g := &Gateway{
		app: app, tasks: map[string]*rhubarb.Definition{}, cross: http.NewCrossOriginProtection(),
		mux: http.NewServeMux(), done: make(chan struct{}),
	}
	if opts != nil {
		g.opts = *opts
	}
	if err := g.defaults(); err != nil {
		return nil, fmt.Errorf("gateway: new: %w", err)
	}
	for _, t := range g.opts.Tasks {
		def := t.Definition()
		if g.tasks[def.Name] != nil {
			return nil, fmt.Errorf("gateway: new: two tasks are named %q", def.Name)
		}
		g.tasks[def.Name] = def
	}
	g.token = sha256.Sum256([]byte(g.opts.Token))
	var err error
	if g.openAPI, err = g.describe(); err != nil {
		return nil, fmt.Errorf("gateway: new: describe tasks: %w", err)
	}
	g.edge, err = ws.New(&ws.Options{Origins: g.opts.Origins, Subprotocols: []string{protocol}, Detach: true,
		MaxMessage: int(min(g.opts.MaxBody, 64<<10)), MaxConns: g.opts.MaxConnections, Logger: g.log})
	if err != nil {
		return nil, fmt.Errorf("gateway: new: %w", err)
	}
	g.streams.Max = g.opts.MaxConnections
	g.metrics = newMetrics(app, g.tasks, g.streams.Stats(), g.edge.Stats())
	if g.opts.Hub != nil {
		g.metrics.registry.MustRegister(hubCollectors(g.opts.Hub.Stats())...)
	}
	g.routes()
	return g, nil
}

func (g *Gateway) defaults() error {
	o := &g.opts
	if o.MaxBody < 0 || o.MaxWait < 0 || o.MaxConnections < 0 {
		return errors.New("limits must not be negative")
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.MaxWait == 0 {
		o.MaxWait = defaultMaxWait
	}
	if o.Prefix != "" && (!strings.HasPrefix(o.Prefix, "/") || strings.HasSuffix(o.Prefix, "/") || strings.ContainsAny(o.Prefix, "{} ")) {
		return fmt.Errorf("prefix %q must begin with a slash and not end with one", o.Prefix)
	}
	for _, origin := range o.Origins {
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return fmt.Errorf("origin %q: %w", origin, err)
		}
	}
	if o.Unknown == UnknownAuto {
		o.Unknown = UnknownRefuse
		if len(o.Tasks) == 0 {
			o.Unknown = UnknownAllow
		}
	}
	if g.log = o.Logger; g.log == nil {
		g.log = slog.Default()
	}
	return nil
}

// Metrics returns the gateway's numbers, to which a worker in this process
// adds its own with [Metrics.Run].
func (g *Gateway) Metrics() *Metrics { return g.metrics }

// ServeHTTP answers a request. Its body has half a minute to arrive, also where
// nobody reads it: net/http does so before it answers.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visited(r)
	if r.ContentLength != 0 {
		// For the body alone: http.Server.ReadTimeout would end streams too.
		// Where the connection has no deadlines there is nothing to set.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	g.mux.ServeHTTP(w, r)
}

// Drain ends long polls and, spread over the grace, event streams and
// WebSockets, so that an http.Server can shut down: call it before. Clients come
// back by themselves, to another process. Readiness is over at once. It returns
// when all are closed; when ctx ends it closes the rest at once.
func (g *Gateway) Drain(ctx context.Context, grace time.Duration) {
	g.drain.Do(func() { close(g.done) })
	var both sync.WaitGroup
	both.Go(func() { g.edge.Drain(ctx, grace) })
	g.streams.Close(ctx, grace)
	both.Wait()
}

// route is what a path does, by method.
type route struct {
	path  string
	open  bool // needs no permission
	admin bool // needs the gateway's token, if there is any
	raw   bool // its handler needs the connection itself
	by    map[string]http.HandlerFunc

	needs map[string]auth.Action // on what the path's last name says
}

// taken is the status that a connection is answered with when it is taken over.
func (rt route) taken() int {
	if strings.HasSuffix(rt.path, "/ws") {
		return http.StatusSwitchingProtocols
	}
	return http.StatusOK
}

// name is what a request's permission must be for.
func (rt route) name(r *http.Request) string {
	if group := r.PathValue("group"); group != "" {
		return group
	}
	return r.PathValue("id")
}

func get(h http.HandlerFunc) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{http.MethodGet: h, http.MethodHead: h}
}

func post(h http.HandlerFunc) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{http.MethodPost: h}
}

// needs is the permission to read and to change.
func needs(read, change auth.Action) map[string]auth.Action {
	return map[string]auth.Action{http.MethodGet: read, http.MethodHead: read, http.MethodPost: change}
}

func (g *Gateway) routes() {
	tasks := get(g.state)
	tasks[http.MethodPost] = g.call
	stream := needs(auth.ReadStream, auth.RevokeTask)
	all := []route{
		{path: "/tasks/{id}", by: tasks, needs: needs(auth.ReadStream, auth.CallTask)},
		{path: "/tasks/{id}/events", raw: true, by: get(g.follow), needs: stream},
		{path: "/tasks/{id}/ws", raw: true, by: get(g.followSocket), needs: stream},
		{path: "/tasks/{id}/revoke", by: post(g.revoke), needs: stream},
		{path: "/events", raw: true, by: get(g.followMany)},
		{path: "/openapi.json", by: get(g.document)},
		{path: "/rhubarb.js", open: true, by: get(browser.Handler().ServeHTTP)},
		{path: "/metrics", admin: true, by: get(g.metrics.handler().ServeHTTP)},
		{path: "/healthz", open: true, by: get(g.health)},
		{path: "/readyz", open: true, by: get(g.ready)},
	}
	if g.opts.Tickets != nil {
		all = append(all, route{path: "/tickets", by: post(g.ticket)})
	}
	if g.opts.Connections != nil {
		all = append(all, route{path: "/users/{user}/kick", admin: true, by: post(g.kick)})
	}
	if g.opts.Hub != nil {
		group := get(g.members)
		group[http.MethodPost] = g.publish
		may := needs(auth.ReadGroup, auth.WriteGroup)
		sockets := g.edge.Handler(g.opts.Hub, func() channels.Consumer { return &socket{g: g, leave: func() {}} })
		all = append(all,
			route{path: "/groups/{group}", by: group, needs: may},
			route{path: "/groups/{group}/events", raw: true, by: get(g.listen), needs: may},
			route{path: "/groups/{group}/ws", raw: true, by: get(g.ofGroup(sockets)), needs: may})
	}
	for _, rt := range all {
		g.mux.Handle(g.opts.Prefix+rt.path, g.guard(rt))
	}
	g.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem{Status: http.StatusNotFound, Detail: "there is nothing at " + r.URL.Path + "; see " + g.opts.Prefix + "/openapi.json"}.write(w)
	})
}
