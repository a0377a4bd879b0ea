package redisengine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// How soon a server that is silent is taken for dead: a ping goes out each
// pingEvery, and must be answered, as any command, within readTimeout. A
// connection that waits in a blocking command is watched by keepAlive.
const (
	connectTimeout = 5 * time.Second
	readTimeout    = 5 * time.Second
	pingEvery      = time.Second
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}

// minVersion is the oldest major version whose scripts can do what ours do.
const minVersion = 7

// Connect opens the Redis that a URL names:
//
//	redis://USER:PASSWORD@HOST:6379/DB       rediss:// with TLS
//	redis+socket:///PATH?virtual_host=DB     also unix://
//	sentinel://HOST:26379,HOST/DB?master_name=NAME
//	redis+cluster://HOST,HOST?global_keyprefix={TAG}
//
// What the URL says, in its path and options, goes before opts; nil opts are
// the defaults. Nothing of a password is in an error or the log.
func Connect(ctx context.Context, url string, opts *Options) (*Engine, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	o.DB = a.db
	if a.prefix != "" {
		o.Prefix = a.prefix
	}
	if a.resultPrefix != "" {
		o.ResultPrefix = a.resultPrefix
	}
	if a.resultDB != nil {
		o.ResultDB = a.resultDB
	}
	client, direct, err := a.connect(ctx, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("redis: connect to %s: %w", a, err)
	}
	e, err := New(client, &o)
	if err != nil {
		client.Close()
		direct.Close()
		return nil, err
	}
	e.direct = direct
	return e, nil
}

// connect makes a client that has had an answer, and one whose calls have each
// a connection of a pool: the first gathers the commands of many goroutines,
// the second is sooner where there is one.
func (a *address) connect(ctx context.Context, log *slog.Logger) (client, direct rueidis.Client, err error) {
	if log == nil {
		log = slog.Default()
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	opt, err := a.option()
	if err != nil {
		return nil, nil, err
	}
	if a.certReqs == "none" {
		log.Warn("redis: the server's certificate is not checked, as ssl_cert_reqs says", "addr", a.String())
	}
	for _, name := range a.noted {
		log.Info("redis: the option is without effect here: what a live worker holds is never given out again", "option", name)
	}
	var connected atomic.Bool
	opt.DialCtxFn = a.dialer(ctx, &connected)
	client, err = rueidis.NewClient(opt)
	if err == nil {
		err = a.greet(ctx, client)
	}
	if err == nil {
		opt.DisableAutoPipelining = true
		direct, err = rueidis.NewClient(opt)
	}
	if err != nil {
		if client != nil {
			client.Close()
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, nil, a.advise(err)
	}
	connected.Store(true)
	warnOfEviction(ctx, client, log)
	return client, direct, nil
}

// warnOfEviction looks whether Redis may throw away what it was given. One that
// does not tell is not asked again.
func warnOfEviction(ctx context.Context, client rueidis.Client, log *slog.Logger) {
	info, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(info, "maxmemory_policy:")
	if policy, _, ok := strings.Cut(rest, "\r\n"); ok && policy != "noeviction" {
		log.Warn("redis: at its maxmemory it drops keys, and tasks and results with them: set maxmemory-policy noeviction", "policy", policy)
	}
}

func (a *address) option() (rueidis.ClientOption, error) {
	opt := rueidis.ClientOption{
		InitAddress: a.hosts, SelectDB: a.db, Username: a.user, Password: a.pass, ClientName: "rhubarb",
		DisableCache: true, AlwaysRESP2: a.resp2, ForceSingleClient: a.kind == server || a.kind == socket,
		ConnWriteTimeout: orDefault(a.readTimeout, readTimeout),
	}
	opt.Dialer.Timeout = orDefault(a.connectTimeout, connectTimeout)
	opt.Dialer.KeepAlive = orDefault(a.pingEvery, pingEvery) // that of rueidis' pings; TCP's is keepAlive
	opt.Dialer.KeepAliveConfig = keepAlive
	if a.tls {
		conf, err := a.tlsConfig()
		if err != nil {
			return opt, err
		}
		opt.TLSConfig = conf
	}
	if a.kind == sentinel {
		opt.Sentinel = rueidis.SentinelOption{
			MasterSet: a.masterName, Username: a.sentinelUser, Password: a.sentinelPass, ClientName: "rhubarb",
			Dialer: opt.Dialer, TLSConfig: opt.TLSConfig,
			TopologyRefreshInterval: 5 * time.Second, // should its event be missed
		}
	}
	if a.kind == cluster {
		opt.ClusterOption.ShardsRefreshInterval = 5 * time.Second
	}
	return opt, nil
}

func orDefault(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// dialer makes connections. Until one is in use, the end of ctx breaks them.
func (a *address) dialer(ctx context.Context, connected *atomic.Bool) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	network := "tcp"
	if a.kind == socket {
		network = "unix"
	}
	return func(own context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
		own, cancel := context.WithTimeout(own, d.Timeout)
		defer cancel()
		if !connected.Load() {
			defer context.AfterFunc(ctx, cancel)()
		}
		c, err := dial(own, network, addr, d, conf)
		if err == nil && !connected.Load() {
			context.AfterFunc(ctx, func() {
				if !connected.Load() {
					c.Close() // and whoever waits for an answer is told
				}
			})
		}
		return c, err
	}
}

func dial(ctx context.Context, network, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
	if conf == nil {
		return d.DialContext(ctx, network, addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, network, addr)
}

func (a *address) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: a.certReqs == "none"}
	if a.caCerts != "" {
		pem, err := os.ReadFile(a.caCerts)
		if err != nil {
			return nil, fmt.Errorf("ssl_ca_certs: %w", err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl_ca_certs: there is no certificate in %s", a.caCerts)
		}
	}
	if a.certFile != "" {
		cert, err := tls.LoadX509KeyPair(a.certFile, a.keyFile)
		if err != nil {
			return nil, fmt.Errorf("ssl_certfile and ssl_keyfile: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	if a.anyName && !conf.InsecureSkipVerify {
		conf.InsecureSkipVerify = true // VerifyConnection does it, but for the name
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			return verifyChain(s, conf.RootCAs)
		}
	}
	return conf, nil
}

// verifyChain checks that a certificate is signed by one that is trusted.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// greet has a first answer, and looks at what answers.
func (a *address) greet(ctx context.Context, client rueidis.Client) error {
	facts, err := client.Do(ctx, client.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		return err
	}
	fact := func(name string) string {
		m := facts[name]
		text, err := m.ToString()
		if err != nil {
			return "?"
		}
		return text
	}
	major, _, _ := strings.Cut(fact("version"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minVersion {
		return fmt.Errorf("it is version %s of %s, %d.0 is needed", fact("version"), fact("server"), minVersion)
	}
	if fact("mode") == "cluster" && a.kind != cluster {
		return errors.New("it is a node of a cluster: write redis+cluster://")
	}
	return nil
}

// advise adds what to do to what Redis, its client and the network say.
func (a *address) advise(err error) error {
	said := err.Error()
	for _, c := range []struct{ part, todo string }{
		{"connection refused", "is it running there?"},
		{"no such host", "is the name right?"},
		{"no such file", "is it running, with unixsocket set to this path?"},
		{"WRONGPASS", "check user and password in the URL"},
		{"NOAUTH", "it wants a password: write redis://:PASSWORD@host"},
		{"NOPERM", "the user needs more rights, see the table in docs/engines.md"},
		{"first record does not look like a TLS handshake", "it does not speak TLS: write redis://"},
		{"certificate signed by unknown authority", "name its authority with ssl_ca_certs"},
		{"DB index is out of range", "it has fewer databases"},
		{"redis nil message", "the Sentinels know no master of that name: see master_name"},
	} {
		if strings.Contains(said, c.part) {
			return fmt.Errorf("%w: %s", err, c.todo)
		}
	}
	if !a.tls && strings.HasSuffix(said, "EOF") {
		return fmt.Errorf("%w: if it speaks TLS, write rediss://", err)
	}
	return err
}
