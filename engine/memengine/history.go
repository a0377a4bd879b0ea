package memengine

import (
	"context"
	"sort"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// history is what a group keeps, the oldest first.
type history struct {
	kept []*kept
	last uint64 // the offset of the newest, even if that is gone
}

type kept struct {
	engine.Kept
	over alarm
}

// GroupKeep implements engine.Layer.
func (e *Engine) GroupKeep(ctx context.Context, msgs []engine.LayerMessage, age time.Duration) []error {
	return e.eachMessage(ctx, msgs, engine.LayerMessage.CheckGroup, func(m engine.LayerMessage) error {
		h := e.layer.histories[m.To]
		if h == nil {
			h = &history{}
			e.layer.histories[m.To] = h
		}
		e.layer.offset++
		before := h.last
		h.last = e.layer.offset
		k := &kept{Kept: engine.Kept{Offset: h.last, Body: m.Body}}
		k.over.do = func() { h.drop(k) }
		e.clock.set(&k.over, time.Now().Add(whole(age)))
		if h.kept = append(h.kept, k); len(h.kept) > engine.HistoryCapacity {
			e.clock.cancel(&h.kept[0].over)
			h.drop(h.kept[0])
		}
		for in := range e.layer.groups[m.To] {
			in.Push(engine.Incoming{Group: m.To, Body: m.Body, Offset: h.last, Before: before})
		}
		return nil
	})
}

// drop forgets a message. Who reads the history holds the slice it was in.
func (h *history) drop(k *kept) {
	left := make([]*kept, 0, len(h.kept))
	for _, other := range h.kept {
		if other != k {
			left = append(left, other)
		}
	}
	h.kept = left
}

// History implements engine.Layer.
func (e *Engine) History(ctx context.Context, group string, after uint64, most int) (msgs []engine.Kept, gone bool, err error) {
	if err := engine.CheckGroup(group); err != nil {
		return nil, false, err
	}
	if err := e.begin(ctx); err != nil {
		return nil, false, err
	}
	defer e.mu.Unlock()
	var all []*kept
	if h := e.layer.histories[group]; h != nil {
		all = h.kept
	}
	at := 0
	if after != 0 {
		at = sort.Search(len(all), func(i int) bool { return all[i].Offset >= after })
		if gone = at == len(all) || all[at].Offset != after; gone {
			at = 0
		} else {
			at++
		}
	}
	for ; at < len(all) && len(msgs) < most; at++ {
		msgs = append(msgs, all[at].Kept)
	}
	return msgs, gone, nil
}
