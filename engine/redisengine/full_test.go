package redisengine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// fill takes the room that a server has left.
func fill(t testing.TB, s *redisServer) {
	t.Helper()
	s.cli(t, "config", "set", "maxmemory", "1") // nothing fits
}

func room(t testing.TB, s *redisServer) {
	t.Helper()
	s.cli(t, "config", "set", "maxmemory", "0")
}

func tryPublish(ctx context.Context, e *redisengine.Engine, id string) error {
	m := engine.Message{ID: id, Task: "t", Body: []byte(`[[],{},{}]`)}
	return e.Publish(ctx, []engine.Publication{{Message: m, Queue: "q"}})[0].Err
}

func TestAFullRedisTakesNoMoreAndFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	r := receive(t, e, "q")
	const n = 20
	for i := range n {
		publishTask(t, e, "q", fmt.Sprint("t", i))
	}
	held := take(t, r, patient)
	fill(t, s)
	if err := tryPublish(t.Context(), e, "more"); !errors.Is(err, engine.ErrFull) {
		t.Errorf("publish to a full Redis: %v, want ErrFull", err)
	}
	if err := r.Extend(t.Context(), []*engine.Delivery{held})[0]; err != nil {
		t.Errorf("extend: %v", err)
	}
	record := []byte(`{"status": "SUCCESS", "result": 1, "traceback": null, "children": [], "task_id": "t0"}`)
	for i := range n {
		d := held
		if i > 0 {
			d = take(t, r, 10*time.Second)
		}
		st := engine.State{ID: d.ID, Status: engine.Success, Record: record}
		follow := []engine.Publication{{Message: engine.Message{ID: d.ID + "-next", Task: "t"}, Queue: "next"}}
		if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d, State: &st, Follow: follow}})[0]; err != nil {
			t.Errorf("settle %s: %v", d.ID, err)
		}
	}
	states, err := e.Get(t.Context(), []string{"t0", "t19"})
	if err != nil || states[0].Status != engine.Success || states[1].Status != engine.Success {
		t.Errorf("states %+v, %v; want the results of what was accepted", states, err)
	}
	if got := s.cli(t, "llen", "next"); strings.TrimSpace(got) != fmt.Sprint(n) {
		t.Errorf("%s follow-ups, want %d", got, n)
	}
	if err := e.Revoke(t.Context(), []engine.State{{ID: "t99", Status: engine.Revoked, Record: []byte(`{"status": "REVOKED"}`)}})[0]; err != nil {
		t.Errorf("revoke: %v", err)
	}
	room(t, s)
	if err := tryPublish(t.Context(), e, "more"); err != nil {
		t.Errorf("publish once there is room: %v", err)
	}
	if d := take(t, r, 10*time.Second); d.ID != "more" {
		t.Errorf("got %s, want more", d.ID)
	}
}

// What a dead worker held is run by another though nothing fits.
func TestAFullRedisGivesBackWhatTheDeadHeld(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	dead := s.engine(t)
	publishTask(t, dead, "q", "a")
	take(t, receive(t, dead, "q"), patient)
	fill(t, s)
	r := receive(t, s.engine(t), "q") // a worker may begin
	dead.Close()                      //nolint:errcheck // it never fails
	if d := take(t, r, 30*time.Second); d.ID != "a" || d.Attempt != 2 {
		t.Errorf("got %s, attempt %d; want a, 2", d.ID, d.Attempt)
	}
}

// TestRedisFillsUnderLoad has a limit that the crowd reaches by itself, with
// results that are kept.
func TestRedisFillsUnderLoad(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	c := startCrowd(t, s.url(), 16)
	for range rounds(3, 10) {
		lull(t, 500*time.Millisecond)
		fill(t, s)
		before := c.errors.Load()
		lull(t, 700*time.Millisecond)
		if c.errors.Load() == before {
			t.Error("nobody was refused by a full Redis")
		}
		room(t, s)
		c.probe()
	}
	c.stop()
}

func TestARedisThatEvictsIsWarnedOf(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	for _, c := range []struct {
		policy string
		warned bool
	}{{"noeviction", false}, {"allkeys-lru", true}, {"volatile-ttl", true}} {
		s.cli(t, "config", "set", "maxmemory-policy", c.policy)
		var said bytes.Buffer
		e, err := redisengine.Connect(t.Context(), s.url(), &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		e.Close() //nolint:errcheck // it never fails
		if got := strings.Contains(said.String(), "policy="+c.policy); got != c.warned {
			t.Errorf("policy %s: warned %v, want %v: %s", c.policy, got, c.warned, &said)
		}
	}
}
