package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// simple reports whether a settlement is what nearly all are: the task is done,
// with a record that says so or none, and nothing follows.
func (s *settlement) simple() bool {
	if s.Verdict != engine.Done || len(s.Follow) > 0 || !s.until.IsZero() || s.stray {
		return false
	}
	return s.State == nil || engine.Ready(s.State.Status) && s.State.TTL >= 0 && celery.Status(s.State.Record) == s.State.Status
}

// ackBatch is what goes to Redis in one script of simple settlements.
type ackBatch struct {
	r     *receiver
	errs  []error
	args  []string
	list  []*engine.Delivery
	at    []int // which error answers each
	other []int // those that are not so simple
	bytes int
}

func (b *ackBatch) add(ctx context.Context, s *settlement, i int) {
	if len(b.list) == maxBatch || b.bytes > maxBatchBytes {
		b.send(ctx)
	}
	if b.args == nil {
		b.args = append(b.r.e.arguments(1+4*32), b.r.owner)
	}
	t, record, keep := s.Delivery.Token.(*token), "", "0"
	if s.State != nil {
		record, keep = rueidis.BinaryString(s.State.Record), keepSeconds(s.State.TTL)
	}
	b.args = append(b.args, t.key, t.claim, record, keep)
	b.bytes += len(record)
	b.list, b.at = append(b.list, s.Delivery), append(b.at, i)
}

func (b *ackBatch) send(ctx context.Context) {
	if len(b.list) == 0 {
		return
	}
	e := b.r.e
	other, err := e.codes(e.run(ctx, ackScript, b.args))
	if err != nil {
		for _, i := range b.at {
			b.errs[i] = err
		}
	} else {
		odd := make(map[int]bool, len(other))
		for _, k := range other {
			if n := int(k) - 1; n >= 0 && n < len(b.at) {
				odd[n] = true
				b.other = append(b.other, b.at[n])
			}
		}
		for k, d := range b.list {
			if !odd[k] {
				b.r.forget(d)
				e.retains.drop(d.ID)
			}
		}
	}
	*b = ackBatch{r: b.r, errs: b.errs, other: b.other}
}

// keepSeconds writes how long a result is kept, in whole seconds; zero means a day.
func keepSeconds(d time.Duration) string {
	if d == 0 {
		d = engine.DefaultTTL
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
