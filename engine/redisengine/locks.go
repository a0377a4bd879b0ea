package redisengine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
)

var (
	acquireScript = finishing("acquire")
	holdScript    = finishing("hold")
)

// Acquire implements engine.Locks. Redis removes a term that runs out. What a
// failover to a replica loses, it loses of locks as well: then a name has two
// holders, and the greater fence is the valid one.
func (e *Engine) Acquire(ctx context.Context, name, owner string, ttl time.Duration) (engine.Fence, error) {
	if err := engine.CheckName("lock name", name, engine.MaxID); err != nil {
		return 0, err
	}
	if e.closed() {
		return 0, engine.ErrClosed
	}
	args := append(e.arguments(4), name, owner, wholeSeconds(ttl), strconv.FormatUint(rand.Uint64(), 10))
	res, _ := e.insist(ctx, acquireScript, args)
	text, err := res.ToString()
	switch {
	case err != nil:
		return 0, e.wrong(err)
	case text == "":
		return 0, engine.ErrHeld
	}
	fence, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("redis: fence of lock %s: %w", name, err)
	}
	return engine.Fence(fence), nil
}

// Renew implements engine.Locks.
func (e *Engine) Renew(ctx context.Context, name string, fence engine.Fence, ttl time.Duration) error {
	return e.hold(ctx, name, fence, wholeSeconds(ttl))
}

// Release implements engine.Locks.
func (e *Engine) Release(ctx context.Context, name string, fence engine.Fence) error {
	return e.hold(ctx, name, fence, "")
}

func (e *Engine) hold(ctx context.Context, name string, fence engine.Fence, ttl string) error {
	if e.closed() {
		return engine.ErrClosed
	}
	res, unsure := e.insist(ctx, holdScript, append(e.arguments(3), name, strconv.FormatUint(uint64(fence), 10), ttl))
	n, err := res.AsInt64()
	if err == nil && n == 0 && !(unsure && ttl == "") { // a release that was made twice
		return engine.ErrSuperseded
	}
	return e.wrong(err)
}

// insist runs a script that may run twice, and again if the connection breaks:
// for as long as a reconnect takes. unsure says that there was an earlier run
// whose answer was lost.
func (e *Engine) insist(ctx context.Context, s *rueidis.Lua, args []string) (res rueidis.RedisResult, unsure bool) {
	until := time.Now().Add(connectTimeout)
	for wait := minRetryWait; ; wait = min(2*wait, maxRetryWait) {
		res = e.run(ctx, s, args)
		err := res.NonRedisError()
		if err == nil || ctx.Err() != nil || e.closed() || time.Now().After(until) {
			return res, unsure
		}
		unsure = true
		select {
		case <-ctx.Done():
		case <-e.done:
		case <-time.After(wait):
		}
	}
}

// wholeSeconds rounds a time up to seconds, one at least, and writes it in ms.
func wholeSeconds(d time.Duration) string {
	return millis(max(time.Second, (d + time.Second - 1).Truncate(time.Second)))
}
