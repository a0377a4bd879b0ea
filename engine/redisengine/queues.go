package redisengine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Queues implements engine.Broker. Oldest is zero: kombu's envelope does not say
// when a message was sent. Queues that only Python uses are not known.
func (e *Engine) Queues(ctx context.Context) ([]engine.QueueInfo, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	parts, err := e.ask(ctx, queuesScript, e.arguments(0))
	if err != nil {
		return nil, err
	}
	infos := make([]engine.QueueInfo, 0, len(parts)/4)
	for ; len(parts) >= 4; parts = parts[4:] {
		q := engine.QueueInfo{}
		if q.Name, err = parts[0].ToString(); err != nil {
			return nil, e.wrong(err)
		}
		for i, n := range []*int{&q.Ready, &q.Delayed, &q.Held} {
			v, err := parts[i+1].AsInt64()
			if err != nil {
				return nil, e.wrong(err)
			}
			*n = int(v)
		}
		infos = append(infos, q)
	}
	slices.SortFunc(infos, func(a, b engine.QueueInfo) int { return cmp.Compare(a.Name, b.Name) })
	return infos, nil
}

// Purge implements engine.Broker.
func (e *Engine) Purge(ctx context.Context, queue string) (int, error) {
	if e.closed() {
		return 0, engine.ErrClosed
	}
	for total := 0; ; {
		n, err := e.run(ctx, purgeScript, append(e.arguments(1), queue)).AsInt64()
		total += int(n)
		if err != nil || n == 0 {
			return total, e.wrong(err)
		}
	}
}

// Shelved implements engine.Broker.
func (e *Engine) Shelved(ctx context.Context, shelf engine.Shelf, after string, most int) ([]engine.Shelved, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	key, from := e.own(string(shelf)), int64(0)
	c := e.client
	if after != "" {
		rank, err := c.Do(ctx, c.B().Zrank().Key(key).Member(after).Build()).AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, e.wrong(err)
		}
		if err == nil {
			from = rank + 1
		}
	}
	ids, err := c.Do(ctx, c.B().Zrange().Key(key).Min(strconv.FormatInt(from, 10)).Max(strconv.FormatInt(from+int64(most)-1, 10)).Build()).AsStrSlice()
	if err != nil || len(ids) == 0 {
		return nil, e.wrong(err)
	}
	packed, err := c.Do(ctx, c.B().Hmget().Key(key+":m").Field(ids...).Build()).AsStrSlice()
	if err != nil {
		return nil, e.wrong(err)
	}
	out := make([]engine.Shelved, 0, len(ids))
	for i, id := range ids {
		if packed[i] == "" {
			continue // taken off the shelf just now
		}
		s, err := readShelved(id, packed[i])
		if err != nil {
			return nil, fmt.Errorf("redis: shelf %s: message %q: %w", shelf, id, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// readShelved reads what lua/parts/shelf.lua writes.
func readShelved(id, packed string) (s engine.Shelved, err error) {
	parts := strings.SplitN(packed, "|", 7)
	if len(parts) != 7 {
		return s, fmt.Errorf("its entry has %d parts", len(parts))
	}
	var n [6]int
	for i := range n {
		if n[i], err = strconv.Atoi(parts[i]); err != nil {
			return s, err
		}
	}
	rest, queue, reason := parts[6], n[4], n[5]
	if queue < 0 || reason < 0 || queue+reason > len(rest) {
		return s, fmt.Errorf("its entry has %d bytes, too few", len(rest))
	}
	s.Deliveries, s.Since = n[1], time.UnixMilli(int64(n[3]))
	s.Queue, s.Reason = rest[:queue], rest[queue:queue+reason]
	t := taken{token: token{key: id}, claim: claim{step: n[0]}, envelope: rest[queue+reason:]}
	d, _ := t.delivery(time.Time{}) // a message that cannot be read is shown as it is
	s.Message, s.Priority = d.Message, d.Priority
	s.ID = id // under which it lies, should its headers say another
	return s, nil
}

// Restore implements engine.Broker.
func (e *Engine) Restore(ctx context.Context, shelf engine.Shelf, ids []string) []error {
	errs := make([]error, len(ids))
	for from := 0; from < len(ids); from += maxBatch {
		page := ids[from:min(from+maxBatch, len(ids))]
		codes, err := e.codes(e.run(ctx, restoreScript, append(append(e.arguments(1+len(page)), string(shelf)), page...)))
		for i := range page {
			switch {
			case err != nil:
				errs[from+i] = err
			case i >= len(codes) || codes[i] == 1:
				errs[from+i] = engine.ErrNotFound
			}
		}
	}
	return errs
}

// Drop implements engine.Broker.
func (e *Engine) Drop(ctx context.Context, shelf engine.Shelf, ids []string) []error {
	errs := make([]error, len(ids))
	c, key := e.client, e.own(string(shelf))
	for i, id := range ids {
		res := c.DoMulti(ctx, c.B().Zrem().Key(key).Member(id).Build(), c.B().Hdel().Key(key+":m").Field(id).Build())
		n, err := res[0].AsInt64()
		switch {
		case err != nil:
			errs[i] = e.wrong(err)
		case n == 0:
			errs[i] = engine.ErrNotFound
		}
	}
	return errs
}

// maxRecord bounds what is read of one result, in bytes: Python's may be larger
// than ours.
const maxRecord = celery.MaxEnvelope
