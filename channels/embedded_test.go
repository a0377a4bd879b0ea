package channels_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

// TestTwoProcessesOnTheEmbeddedEngine has two engines on one directory, as two
// processes have.
func TestTwoProcessesOnTheEmbeddedEngine(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	defer run.Wait()
	defer stop()
	heard := make(chan string, 10)
	var hubs []*channels.Hub
	for range 2 {
		e, err := embedded.Open(t.Context(), dir, &embedded.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		h, err := channels.Open(t.Context(), e, nil)
		if err != nil {
			t.Fatal(err)
		}
		run.Go(func() {
			if err := h.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		ch, err := h.Open(func(e channels.Event) { heard <- e.Type })
		if err == nil {
			err = ch.Join(t.Context(), "g")
		}
		if err != nil {
			t.Fatal(err)
		}
		hubs = append(hubs, h)
	}
	for i, typ := range []string{"one", "two"} {
		e, err := channels.NewEvent(typ, nil)
		if err == nil {
			err = hubs[i].GroupSend(t.Context(), "g", e)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range hubs {
			select {
			case got := <-heard:
				if got != typ {
					t.Errorf("heard %q, want %q", got, typ)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%q was not heard by both", typ)
			}
		}
	}
}
