package main

import (
	"context"
	"fmt"
	"time"
)

// job is the input of every task.
type job struct {
	N    int   `json:"n"`
	Sent int64 `json:"sent"` // Unix nanoseconds, just before it was sent
	Due  int64 `json:"due"`  // Unix nanoseconds; 0 means now
}

func (j job) due() time.Time { return time.Unix(0, j.Due) }

// side is one library on one engine with an empty store.
type side interface {
	// send enqueues one job and returns when it is durable by the side's own
	// policy. It may be called at once.
	send(ctx context.Context, j job) error

	// fill enqueues many jobs by the quickest way the library offers.
	fill(ctx context.Context, jobs []job) error

	// work runs a worker until ctx ends and calls handle as each job starts.
	// Zero concurrency means the library's default.
	work(ctx context.Context, concurrency int, handle func(job)) error

	// waiting counts the jobs that are ready or held by a worker.
	waiting(ctx context.Context) (int, error)

	// servers are the processes that belong to the side besides this one.
	servers() []int

	// policy says when what was accepted reaches the disk.
	policy() string

	close() error
}

var sides = []string{"asynq", "rhubarb", "embedded"}

func openSide(ctx context.Context, o options) (side, error) {
	switch o.Side {
	case "asynq":
		return openAsynq(ctx, o)
	case "embedded":
		return openEmbedded(ctx, o)
	case "rhubarb":
		return openRhubarb(ctx, o)
	case "redis":
		return openOnRedis(ctx, o)
	case "redisengine":
		return openRedisEngine(ctx, o)
	case "memory":
		return openMemory(o), nil
	}
	return nil, fmt.Errorf("no side is named %q", o.Side)
}
