package redisengine

import (
	"context"

	"github.com/redis/rueidis"
)

// Subscribe is what the engine's own parts use to hear of news.
func (e *Engine) Subscribe(ctx context.Context, channel string, pattern bool, hear func(payload []byte, again bool)) (cancel func(), err error) {
	return e.subs.listen(ctx, channel, pattern, hear)
}

// Client is the engine's.
func (e *Engine) Client() rueidis.Client { return e.client }
