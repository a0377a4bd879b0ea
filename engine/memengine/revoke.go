package memengine

import (
	"context"
	"slices"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Revoke implements engine.Broker.
func (e *Engine) Revoke(ctx context.Context, states []engine.State) []error {
	errs, ok := e.enter(ctx, len(states))
	if !ok {
		return errs
	}
	defer e.mu.Unlock()
	for i, s := range states {
		if errs[i] = s.Check(); errs[i] == nil {
			e.revoke(s)
		}
	}
	return errs
}

func (e *Engine) revoke(s engine.State) {
	t := e.task(s.ID)
	if t.finished {
		return
	}
	held := slices.IndexFunc(t.msgs, func(m *msg) bool { return m.holder != nil })
	if held < 0 {
		e.finish(t, s)
		return
	}
	if t.wish != nil {
		return
	}
	t.wish = &s
	select {
	case t.msgs[held].holder.revoked <- t.id:
	default: // its owner hears of it from Extend
	}
}
