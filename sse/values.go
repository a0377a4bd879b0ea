package sse

import (
	"context"
	"sync/atomic"
	"time"
)

// values is a context that never ends and has the values of a request's, as
// long as somebody may ask for them: net/http keeps half a kilobyte in it.
type values struct{ from atomic.Pointer[borrowed] }

type borrowed struct {
	ctx  context.Context
	stop func() bool // has its end do nothing
}

// borrow returns the values of a context, whose end calls a function until the
// values are released.
func borrow(ctx context.Context, end func()) *values {
	v := new(values)
	v.from.Store(&borrowed{ctx, context.AfterFunc(ctx, end)})
	return v
}

func (v *values) release() {
	if b := v.from.Swap(nil); b != nil {
		b.stop()
	}
}

func (v *values) Deadline() (time.Time, bool) { return time.Time{}, false }
func (v *values) Done() <-chan struct{}       { return nil }
func (v *values) Err() error                  { return nil }

func (v *values) Value(key any) any {
	if b := v.from.Load(); b != nil {
		return context.WithoutCancel(b.ctx).Value(key)
	}
	return nil
}
