package memengine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

func TestTakenAndSettledInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memengine.New()
		defer e.Close()
		due := time.Now().Add(90 * time.Minute)
		p := engine.Publication{Message: engine.Message{ID: "a", Body: []byte("x")}, Queue: "q", At: due}
		if r := e.Publish(t.Context(), []engine.Publication{p}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		recv, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
		if err != nil {
			t.Fatal(err)
		}
		defer recv.Close()
		ds, err := recv.Take(t.Context(), 10)
		if err != nil || len(ds) != 1 || !time.Now().Equal(due) {
			t.Fatalf("take: got %d deliveries, %v, at %v, want one at %v", len(ds), err, time.Now(), due)
		}
		done := engine.State{ID: "a", Status: engine.Success, Record: []byte("{}")}
		if err := recv.Settle(t.Context(), []engine.Settlement{{Delivery: ds[0], State: &done}})[0]; err != nil {
			t.Fatal(err)
		}
		var kinds []engine.Kind
		for rs, err := range e.Tail(context.Background(), "a", "") {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				kinds = append(kinds, r.Kind)
			}
		}
		if len(kinds) != 2 || kinds[0] != engine.KindReset || kinds[1] != engine.KindEnd {
			t.Errorf("stream: got %v, want reset and end", kinds)
		}
	})
}

func TestAListenerThatLagsLosesAndIsCounted(t *testing.T) {
	e := memengine.New()
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seq, err := e.Listen(ctx, engine.Topic{Exchange: "x"})
	if err != nil {
		t.Fatal(err)
	}
	const sent = 3000
	for range sent {
		if err := e.Broadcast(ctx, engine.Topic{Exchange: "x"}, engine.Message{Body: []byte("p")}); err != nil {
			t.Fatal(err)
		}
	}
	lost := e.Lost()
	if lost == 0 || lost >= sent {
		t.Fatalf("lost %d of %d, want some", lost, sent)
	}
	heard := uint64(0)
	for range seq {
		if heard++; heard+lost == sent {
			break
		}
	}
}

func TestARevokedRunThatAsksForARetryIsRevoked(t *testing.T) {
	e := memengine.New()
	defer e.Close()
	m := engine.Publication{Message: engine.Message{ID: "a"}, Queue: "q"}
	e.Publish(t.Context(), []engine.Publication{m})
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ds, err := r.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	e.Revoke(t.Context(), []engine.State{{ID: "a", Status: engine.Revoked}})
	m.Round = 1
	again := engine.Settlement{
		Delivery: ds[0],
		State:    &engine.State{ID: "a", Status: engine.Retry},
		Follow:   []engine.Publication{m},
	}
	if err := r.Settle(t.Context(), []engine.Settlement{again})[0]; err != nil {
		t.Fatal(err)
	}
	states, err := e.Get(t.Context(), []string{"a"})
	if err != nil || states[0].Status != engine.Revoked {
		t.Errorf("state: got %+v, %v, want REVOKED", states, err)
	}
	if infos, err := e.Queues(t.Context()); err != nil || infos[0].Ready+infos[0].Held+infos[0].Delayed != 0 {
		t.Errorf("queue: got %+v, %v, want it empty", infos, err)
	}
}
