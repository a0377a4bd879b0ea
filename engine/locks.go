package engine

import (
	"context"
	"time"
)

// Locks grants named leases. All methods may be called at once.
type Locks interface {
	// Acquire takes the lock if it is free or expired, and returns [ErrHeld]
	// if another holds it. The fence grows with every term. ttl is at least
	// one second and is rounded up to whole seconds.
	Acquire(ctx context.Context, name, owner string, ttl time.Duration) (Fence, error)

	// Renew prolongs a term from now on and returns [ErrSuperseded] if it is
	// over. The fence stays the same.
	Renew(ctx context.Context, name string, fence Fence, ttl time.Duration) error

	// Release ends a term. One that is over already gives ErrSuperseded.
	Release(ctx context.Context, name string, fence Fence) error
}
