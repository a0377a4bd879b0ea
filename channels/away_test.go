package channels

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// absent is a layer whose engine can be away: nothing is read, and nobody joins.
type absent struct {
	engine.Layer
	away *atomic.Bool
}

var errAway = errors.New("the engine is away")

func (a absent) History(ctx context.Context, group string, after uint64, most int) ([]engine.Kept, bool, error) {
	if a.away.Load() {
		return nil, false, errAway
	}
	return a.Layer.History(ctx, group, after, most)
}

type absentInbox struct {
	engine.Inbox
	away *atomic.Bool
}

func (a absent) Attach(ctx context.Context) (engine.Inbox, error) {
	in, err := a.Layer.Attach(ctx)
	return absentInbox{in, a.away}, err
}

func (a absentInbox) Join(ctx context.Context, group, channel string) error {
	if a.away.Load() {
		return errAway
	}
	return a.Inbox.Join(ctx, group, channel)
}

// What was missed is read when the engine is back, however long that takes, and
// nothing newer overtakes it.
func TestWhatWasMissedIsReadWhenTheEngineIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var n atomic.Int32
		h := open(t, lossy{absent{mem(t), &away}, func(engine.Incoming) (bool, bool) {
			i := n.Add(1)
			return i == 2, i == 2
		}}, Options{})
		client := resume(t, h, words(nil), Replay{})
		tell(t, h, "a", Keep(time.Hour))
		client.wants(t, "a")
		away.Store(true)
		tell(t, h, "b", Keep(time.Hour)) // is lost
		<-time.After(time.Minute)
		tell(t, h, "c", Keep(time.Hour))
		client.wants(t)
		away.Store(false)
		<-time.After(5 * time.Second)
		client.wants(t, "b", "c")
		tell(t, h, "d", Keep(time.Hour))
		client.wants(t, "d")
	})
}

// A group that cannot be read holds up no other, and not what is not kept.
func TestAGroupThatIsBehindHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		h := open(t, lossy{absent{mem(t), &away}, func(in engine.Incoming) (bool, bool) { return in.Offset == 2, false }}, Options{})
		client := resume(t, h, words(nil), Replay{})
		other := listen(t, h, "hall")
		tell(t, h, "a", Keep(time.Hour))
		client.wants(t, "a")
		away.Store(true)
		tell(t, h, "b", Keep(time.Hour)) // is lost
		tell(t, h, "c", Keep(time.Hour))
		tell(t, h, "passing")
		say(t, h, "hall", "x")
		client.wants(t, "passing")
		other.wants(t, "x")
		away.Store(false)
		<-time.After(5 * time.Second)
		client.wants(t, "b", "c")
	})
}

// Who comes while the engine is away is served when it is back.
func TestAResumeWaitsForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		h := open(t, absent{mem(t), &away}, Options{})
		tell(t, h, "a", Keep(time.Hour))
		away.Store(true)
		time.AfterFunc(3*time.Second, func() { away.Store(false) })
		start := time.Now()
		resume(t, h, words(nil), Replay{}).wants(t, "a")
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("it took %v, the engine was away for 3s", took)
		}

		away.Store(true)
		ch, err := h.Open(func(Event) {})
		if err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		err = ch.Resume(t.Context(), "room", words(nil), &note{}, Replay{})
		if took := time.Since(start); !errors.Is(err, errAway) || took > resumeWait+time.Second {
			t.Errorf("after %v: %v, want the engine's error after %v", took, err, resumeWait)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err = ch.Resume(ctx, "room", words(nil), &note{}, Replay{}); err == nil || time.Since(start) > resumeWait+3*time.Second {
			t.Errorf("it outlasts its context: %v", err)
		}
	})
}

// Clients that come at once, each from another position near the end, cost the
// engine few reads.
func TestClientsAtNearPositionsShareReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		var at sync.Map
		r := words(&at)
		const clients = 100
		texts := make([]string, clients)
		resume(t, h, r, Replay{})
		for i := range clients {
			texts[i] = string(rune('a'+i/26)) + string(rune('a'+i%26))
			tell(t, h, texts[i], Keep(time.Hour))
		}
		synctest.Wait()
		before := h.Stats().Reads.Load()
		notes := make([]*note, clients)
		var storm sync.WaitGroup
		for i := range clients {
			pos, _ := at.Load(texts[i])
			storm.Go(func() {
				<-time.After(time.Duration(i) * 10 * time.Millisecond)
				// Half of them by another relay: it is the same history.
				by := r
				if i%2 == 0 {
					by = words(nil)
				}
				notes[i] = resume(t, h, by, Replay{After: pos.(engine.Position)})
			})
		}
		storm.Wait()
		for i, n := range notes {
			n.wants(t, texts[i+1:]...)
		}
		if reads := h.Stats().Reads.Load() - before; reads > 15 {
			t.Errorf("%d clients within a second made %d reads, want ten or so", clients, reads)
		}
		if got := h.Stats().Resumed.Load(); got != clients+1 {
			t.Errorf("%d are counted, want %d", got, clients+1)
		}
	})
}
