package main

import (
	"context"
	"errors"

	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

// openEmbedded is the default engine: nats-server in this process, its data in
// one folder.
func openEmbedded(ctx context.Context, o options) (side, error) {
	e, err := embedded.Open(ctx, o.Dir, nil)
	if err != nil {
		return nil, err
	}
	return &engineSide{engine: e, results: o.Results, text: embeddedPolicy, stop: e.Close}, nil
}

// openRedisEngine is the engine on Redis alone.
func openRedisEngine(ctx context.Context, o options) (side, error) {
	r, e, err := openRedis(ctx, o)
	if err != nil {
		return nil, err
	}
	stop := func() error { return errors.Join(e.Close(), r.stop()) }
	return &engineSide{engine: e, results: o.Results, text: r.policy, pids: []int{r.pid()}, stop: stop}, nil
}
