package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/rhubarb-go/rhubarb/engine"
)

// dialEngines opens the engines of a URL.
func dialEngines(_ context.Context, _, _ string, _ *slog.Logger) (engine.Set, io.Closer, error) {
	return engine.Set{}, nil, errors.New("cli: no engine was given: fill Program.Open")
}
