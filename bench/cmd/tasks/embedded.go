package main

import (
	"context"

	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

// openEmbedded is the default engine: nats-server in this process, its data in
// one folder.
func openEmbedded(ctx context.Context, o options) (side, error) {
	e, err := embedded.Open(ctx, o.Dir, nil)
	if err != nil {
		return nil, err
	}
	return &engineSide{engine: e, results: o.Results, text: embeddedPolicy}, nil
}
