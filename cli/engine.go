package cli

import (
	"context"
	"io"
	"log/slog"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/dial"
)

// dialer opens engines by URL, and the embedded one in dir when there is none.
// results is the URL of the results, or empty.
func dialer(results string, syncAlways bool) Opener {
	return func(ctx context.Context, url, dir string, log *slog.Logger) (engine.Set, io.Closer, error) {
		if url == "" {
			url = "file:" + dir
		}
		set, closeEngines, err := dial.Dial(ctx, url, &dial.Options{Logger: log, Results: results, SyncAlways: syncAlways})
		return set, closer(closeEngines), err
	}
}

// closer makes a function an io.Closer.
type closer func() error

func (c closer) Close() error { return c() }
