package mailbox

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestBoxIsBoundedInBytes(t *testing.T) {
	b := New()
	body := make([]byte, 1<<20)
	for range 20 {
		b.Push(engine.Incoming{Group: "g", Body: body})
	}
	got, err := b.Receive(t.Context(), nil, nil)
	if err != nil || len(got) != engine.InboxBytes>>20 || b.Missed() != 4 {
		t.Errorf("%d messages, %d missed, %v; want 16 and 4", len(got), b.Missed(), err)
	}
}

func TestReceiveWaitsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, closed := New(), make(chan struct{})
		start := time.Now()
		time.AfterFunc(time.Minute, func() { b.Push(engine.Incoming{Group: "g"}) })
		got, err := b.Receive(t.Context(), closed, nil)
		if err != nil || len(got) != 1 || time.Since(start) != time.Minute {
			t.Errorf("%d messages after %v, %v", len(got), time.Since(start), err)
		}
		time.AfterFunc(time.Minute, func() { close(closed) })
		if _, err := b.Receive(t.Context(), closed, nil); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("a closed inbox: %v, want ErrClosed", err)
		}
	})
}

func TestNamesTellTheirBox(t *testing.T) {
	b := New()
	name, err := b.NewChannel("a.b")
	if err != nil || IDOf(name) != b.ID() || !strings.HasPrefix(name, "a.b.") {
		t.Errorf("channel %q of box %s, %v", name, b.ID(), err)
	}
	for _, c := range []struct {
		name string
		want error
	}{
		{name, nil},
		{"a." + b.ID() + "!x", nil},
		{"a.b", engine.ErrNotFound},
		{"a.other!x", engine.ErrNotFound},
		{"", engine.ErrLimit},
		{"!x", engine.ErrLimit},
	} {
		if err := b.Owns(c.name); !errors.Is(err, c.want) {
			t.Errorf("owns %q: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := b.NewChannel("a b"); !errors.Is(err, engine.ErrLimit) {
		t.Errorf("a prefix with a space: %v, want ErrLimit", err)
	}
}
