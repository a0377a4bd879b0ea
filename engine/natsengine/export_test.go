package natsengine

import (
	"context"
	"time"
)

// SetFault has f called between two steps of which the first is durable.
func (e *Engine) SetFault(f func(point string)) { e.fault = f }

// OpenFar is Open with short times for messages that are far ahead.
func OpenFar(ctx context.Context, opts Options, ahead, bucket, lead, look time.Duration) (*Engine, error) {
	return open(ctx, opts, far{ahead, bucket, lead, look})
}
