package redisengine_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// envelope is a task message as kombu writes it.
func envelope(id string) string {
	return fmt.Sprintf(`{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", `+
		`"headers": {"lang": "py", "task": "t", "id": %q}, "properties": {"correlation_id": %q, "delivery_mode": 2, `+
		`"delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "x"}}`, id, id)
}

func receive(t testing.TB, e *redisengine.Engine, queues ...string) engine.Receiver {
	t.Helper()
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: queues, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) //nolint:errcheck // it never fails
	return r
}

func publishTask(t testing.TB, e *redisengine.Engine, queue, id string) {
	t.Helper()
	m := engine.Message{ID: id, Task: "t", Headers: []byte(`{"id":"` + id + `","task":"t"}`), Body: []byte(`[[],{},{}]`)}
	if r := e.Publish(t.Context(), []engine.Publication{{Message: m, Queue: queue}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
}

// take returns one delivery, and fails without one after the time.
func take(t testing.TB, r engine.Receiver, within time.Duration) *engine.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	ds, err := r.Take(ctx, 1)
	if err != nil {
		t.Fatalf("take within %v: %v", within, err)
	}
	return ds[0]
}

func done(t testing.TB, r engine.Receiver, d *engine.Delivery) {
	t.Helper()
	if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d}})[0]; err != nil {
		t.Fatalf("settle %s: %v", d.ID, err)
	}
}

// put pushes a text as kombu does, whatever is in it.
func (s *redisServer) put(t testing.TB, list, text string) {
	t.Helper()
	cmd := exec.Command(binary(t, "redis-cli"), "-p", fmt.Sprint(s.port), "-x", "LPUSH", list)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("lpush to %s: %v: %s", list, err, out)
	}
}

// A key that somebody else wrote is no reason to stop, and none to lose a
// message.
func TestAKeyOfTheWrongTypeStopsOneQueueOnly(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	s.cli(t, "set", "b", "no list")
	r := receive(t, e, "a", "b", "c")
	for i := range 6 {
		s.put(t, []string{"a", "c"}[i%2], envelope(fmt.Sprint("task-", i)))
	}
	got := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(got) < 6 {
		ds, err := r.Take(ctx, 50)
		if err != nil {
			t.Fatalf("take: %v; got %v, want all 6 of the queues that are lists", err, got)
		}
		for _, d := range ds {
			got[d.ID] = true
			done(t, r, d)
		}
	}
	// What is sent to it, or follows from a task, is a dead letter, and what goes
	// elsewhere in the same batch goes.
	for _, q := range []string{"b", "a"} {
		publishTask(t, e, q, "to-"+q)
	}
	d := take(t, r, 10*time.Second)
	err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d, Follow: []engine.Publication{
		{Message: engine.Message{ID: "follow-b", Task: "t"}, Queue: "b"}, {Message: engine.Message{ID: "follow-c", Task: "t"}, Queue: "c"},
	}}})[0]
	if err != nil {
		t.Errorf("settle with a follow-up into what is no queue: %v", err)
	}
	if d := take(t, r, 10*time.Second); d.ID != "follow-c" {
		t.Errorf("got %s, want the other follow-up", d.ID)
	} else {
		done(t, r, d)
	}
	dead, err := e.Shelved(t.Context(), engine.Dead, "", 10)
	if err != nil || len(dead) != 2 || dead[0].ID != "to-b" || dead[1].ID != "follow-b" || !strings.Contains(dead[0].Reason, "WRONGTYPE") {
		t.Errorf("dead letters: %+v, %v; want to-b and follow-b for WRONGTYPE", dead, err)
	}
	s.cli(t, "del", "b")
	s.put(t, "b", envelope("late"))
	if d := take(t, r, 30*time.Second); d.ID != "late" {
		t.Errorf("got %s, want what came once the key was a list", d.ID)
	}
}
