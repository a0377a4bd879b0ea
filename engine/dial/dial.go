package dial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/engine/natsengine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// DefaultDir is the data directory of the embedded engine when none is named.
const DefaultDir = "./rhubarb-data"

// Options configures Dial. The zero value is ready to use.
type Options struct {
	// Logger gets what an operator should know; nil means slog.Default().
	Logger *slog.Logger

	// Results is the URL of the results where it is not the broker's: of the
	// same Redis, with another database or prefix.
	Results string

	// SyncAlways makes the embedded engine sync every write to the disk.
	SyncAlways bool
}

// Dial opens the engines that a URL names:
//
//	""                        the embedded engine in ./rhubarb-data
//	file:DIR, file:///DIR     the embedded engine in a directory
//	mem:                      in memory, for this process alone
//	nats://HOST:PORT          a NATS server or cluster with JetStream
//	tls://HOST:PORT           the same with TLS
//	redis://HOST:PORT/DB      Redis 7.0 or later, as Celery writes it; also
//	                          rediss:, redis+socket:, sentinel:, redis+cluster:
//
// Several NATS servers are separated by commas. The returned function closes
// the engines. Passwords in the URL never appear in an error.
func Dial(ctx context.Context, rawURL string, opts *Options) (engine.Set, func() error, error) {
	if opts == nil {
		opts = &Options{}
	}
	scheme, rest, ok := strings.Cut(rawURL, ":")
	if opts.Results != "" && !redisengine.Serves(scheme) {
		return engine.Set{}, nil, errors.New("dial: results have a URL of their own, but only with redis: they may: unset RHUBARB_RESULTS_URL and CELERY_RESULT_BACKEND")
	}
	switch {
	case rawURL == "":
		return openEmbedded(ctx, DefaultDir, opts)
	case !ok:
		return engine.Set{}, nil, fmt.Errorf("dial: %q is no URL: for a data directory write file:%s", rawURL, rawURL)
	case scheme == "file":
		return openEmbedded(ctx, strings.TrimPrefix(rest, "//"), opts)
	case scheme == "mem":
		e := memengine.New()
		return engine.All(e), e.Close, nil
	case scheme == "nats" || scheme == "tls":
		return openNATS(ctx, rawURL, opts)
	case redisengine.Serves(scheme):
		return openRedis(ctx, rawURL, opts)
	case scheme == "amqp" || scheme == "amqps":
		return engine.Set{}, nil, fmt.Errorf("dial: no engine for %s: in this version yet: use redis://, nats://, file: or nothing for the embedded one", scheme)
	}
	return engine.Set{}, nil, fmt.Errorf("dial: no engine for %s: — there are file:, mem:, nats:// and redis://", scheme)
}

func openRedis(ctx context.Context, url string, opts *Options) (engine.Set, func() error, error) {
	if opts.Results != "" {
		var err error
		if url, err = redisengine.WithResults(url, opts.Results); err != nil {
			return engine.Set{}, nil, err
		}
	}
	e, err := redisengine.Connect(ctx, url, &redisengine.Options{Logger: opts.Logger})
	if err != nil {
		return engine.Set{}, nil, err
	}
	return e.Set(), e.Close, nil
}

func openEmbedded(ctx context.Context, dir string, opts *Options) (engine.Set, func() error, error) {
	if dir == "" {
		dir = DefaultDir
	}
	e, err := embedded.Open(ctx, dir, &embedded.Options{Logger: opts.Logger, SyncAlways: opts.SyncAlways})
	if err != nil {
		return engine.Set{}, nil, err
	}
	return engine.All(e), e.Close, nil
}

func openNATS(ctx context.Context, urls string, opts *Options) (engine.Set, func() error, error) {
	connect := func() (*nats.Conn, error) {
		nc, err := nats.Connect(urls, nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
			nats.Timeout(5*time.Second), nats.Name("rhubarb"), nats.IgnoreAuthErrorAbort())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", redact(urls), err)
		}
		return nc, nil
	}
	e, err := natsengine.Open(ctx, natsengine.Options{Connect: connect, Logger: opts.Logger})
	if err != nil {
		return engine.Set{}, nil, err
	}
	return engine.All(e), e.Close, nil
}

// redact keeps passwords and tokens out of what people see.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, u := range list {
		p, err := url.Parse(strings.TrimSpace(u))
		var bad *url.Error
		switch {
		case errors.As(err, &bad):
			list[i] = "(unreadable URL)"
		case p.User != nil:
			p.User = url.User("…")
			list[i] = p.String()
		}
	}
	return strings.Join(list, ",")
}
