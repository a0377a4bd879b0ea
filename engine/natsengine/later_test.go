package natsengine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/natsengine"
)

// openFar is an engine for which a second ahead is far.
func openFar(ctx context.Context, connect func() (*nats.Conn, error)) (*natsengine.Engine, error) {
	return natsengine.OpenFar(ctx, natsengine.Options{Connect: connect}, time.Second, time.Second, 2*time.Second, 200*time.Millisecond)
}

func (s *natsServer) farEngine(t *testing.T) *natsengine.Engine {
	t.Helper()
	e, err := openFar(t.Context(), s.connect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestFarAheadWaitsInTheBacklog: what is far ahead is no schedule at first,
// and comes in time all the same, also when its caller is gone.
func TestFarAheadWaitsInTheBacklog(t *testing.T) {
	s := startNATS(t)
	e := s.farEngine(t)
	const n = 600
	due := time.Now().Add(6 * time.Second)
	pubs := make([]engine.Publication, n)
	for i := range pubs {
		pubs[i] = message(fmt.Sprint("t", i))
		pubs[i].At = due
	}
	for _, r := range e.Publish(t.Context(), pubs) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if q, err := e.Queues(t.Context()); err != nil || len(q) != 1 || q[0].Delayed != n {
		t.Errorf("queues %+v, %v; want %d delayed", q, err, n)
	}
	revoked := engine.State{ID: "t7", Status: engine.Revoked}
	if err := e.Revoke(t.Context(), []engine.State{revoked})[0]; err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = s.farEngine(t)
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}, Lease: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen := map[string]bool{}
	for len(seen) < n-1 {
		ds, err := r.Take(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if early := time.Until(due); early > 0 {
			t.Fatalf("%d came %v early", len(ds), early)
		}
		for _, d := range ds {
			if seen[d.ID] || d.ID == "t7" {
				t.Errorf("%s was handed out: twice, or though it was revoked", d.ID)
			}
			seen[d.ID] = true
		}
	}
	if late := time.Since(due); late > 5*time.Second {
		t.Errorf("the last came %v late", late)
	}
}

func TestPurgeReachesTheBacklog(t *testing.T) {
	s := startNATS(t)
	e := s.engine(t)
	p, other := message("a"), message("b")
	p.At, other.At = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	other.Queue = "other"
	for _, r := range e.Publish(t.Context(), []engine.Publication{p, other}) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if n, err := e.Purge(t.Context(), "q"); n != 1 || err != nil {
		t.Errorf("purged %d, %v; want 1", n, err)
	}
	qs, err := e.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qs {
		if want := map[string]int{"q": 0, "other": 1}[q.Name]; q.Delayed != want {
			t.Errorf("queue %s has %d delayed, want %d", q.Name, q.Delayed, want)
		}
	}
}
