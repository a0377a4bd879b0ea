package redisengine

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// recover finds what Redis has handed to us in an answer that was lost. No
// script that takes is under way meanwhile.
func (r *receiver) recover(ctx context.Context, most int) ([]*engine.Delivery, error) {
	r.taking.Lock()
	defer r.taking.Unlock()
	if !r.unsure.Load() {
		return nil, nil
	}
	c := r.e.client
	held, err := c.Do(ctx, c.B().Hgetall().Key(r.e.own("held:"+r.owner)).Build()).AsStrMap()
	if err != nil {
		return nil, r.e.wrong(err)
	}
	var ids []string
	r.mu.Lock()
	for id := range held {
		if r.held[id] == nil {
			ids = append(ids, id)
		}
	}
	r.mu.Unlock()
	if len(ids) == 0 {
		r.unsure.Store(false)
		return nil, nil
	}
	ids = ids[:min(len(ids), most)] // the others are met next time
	res := c.DoMulti(ctx, c.B().Hmget().Key(r.e.own("run")).Field(ids...).Build(), c.B().Get().Key(r.e.own("epoch")).Build())
	claims, err := res[0].AsStrSlice()
	if err != nil {
		return nil, r.e.wrong(err)
	}
	epoch, err := res[1].ToString()
	if err != nil {
		return nil, r.e.wrong(err)
	}
	var got []taken
	for i, id := range ids {
		if c, ok := readClaim(claims[i]); ok && c.owner == r.owner {
			got = append(got, taken{token{id, claims[i], strconv.FormatUint(c.fence, 10), epoch}, c, false, held[id]})
		}
	}
	return r.sift(got, time.Now()), nil
}

// claim is what lua/parts/claim.lua writes.
type claim struct {
	fence               uint64
	attempt, deliveries int
	flags, owner        string
	step                int
	taken               time.Time
	queue               string
}

func readClaim(s string) (c claim, ok bool) {
	parts := strings.SplitN(s, "|", 8)
	if len(parts) != 8 {
		return c, false
	}
	var numbers [5]uint64
	for i, at := range [...]int{0, 1, 2, 5, 6} {
		n, err := strconv.ParseUint(parts[at], 10, 63)
		if err != nil {
			return c, false
		}
		numbers[i] = n
	}
	return claim{
		numbers[0], int(numbers[1]), int(numbers[2]), parts[3], parts[4], int(numbers[3] & 3), time.UnixMilli(int64(numbers[4])), parts[7],
	}, true
}
