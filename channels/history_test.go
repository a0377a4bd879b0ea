package channels

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// note is a sink that notes what is written.
type note struct {
	mu      sync.Mutex
	got     []string
	flushes int
}

func (n *note) WriteShared(messages ...*Shared) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range messages {
		n.got = append(n.got, string(m.Data))
	}
	return nil
}

func (n *note) Flush(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushes++
	return nil
}

func (n *note) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

func (n *note) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.got, want) {
		t.Errorf("the sink got %q, want %q", n.got, want)
	}
	n.got = nil
}

// words renders an event as its text; positions collects where each was.
func words(positions *sync.Map) *Relay {
	r := NewRelay(func(e Event) (Message, error) {
		var s said
		err := e.Decode(&s)
		if positions != nil {
			positions.Store(s.Message, e.Position())
		}
		return Message{Text: true, Data: []byte(s.Message)}, err
	})
	r.Gap = Message{Text: true, Data: []byte("GAP")}
	return r
}

func TestNewestIsWhereANewcomerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		for i, text := range []string{"", "one", "two"} {
			if text != "" {
				tell(t, h, text, Keep(time.Hour))
			}
			synctest.Wait() // until it is heard
			pos, err := h.Newest(t.Context(), "room")
			if err != nil {
				t.Fatal(err)
			}
			tell(t, h, "missed", Keep(time.Hour))
			resume(t, h, words(nil), Replay{After: pos}).wants(t, "missed")
			if events, _, err := h.History(t.Context(), "room", pos, 10); err != nil || len(events) != 1 {
				t.Errorf("%d: %d events after %s, %v, want 1", i, len(events), pos, err)
			}
		}
	})
}

func tell(t *testing.T, h *Hub, text string, opts ...SendOption) {
	t.Helper()
	e, err := NewEvent("chat.message", said{text})
	if err == nil {
		err = h.GroupSend(t.Context(), "room", e, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, h *Hub, r *Relay, from Replay) *note {
	t.Helper()
	n := &note{}
	ch, err := h.Open(func(Event) {})
	if err == nil {
		err = ch.Resume(t.Context(), "room", r, n, from)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHistoryComesBeforeWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		var at sync.Map
		r := words(&at)
		keep := Keep(time.Hour)
		for _, w := range []string{"one", "two", "three"} {
			tell(t, h, w, keep)
		}
		tell(t, h, "passing")
		all := resume(t, h, r, Replay{})
		all.wants(t, "one", "two", "three")
		two, _ := at.Load("two")
		late := resume(t, h, r, Replay{After: two.(engine.Position)})
		late.wants(t, "three")
		last := resume(t, h, r, Replay{Last: 2})
		last.wants(t, "two", "three")
		none := resume(t, h, r, Replay{Last: -1})
		none.wants(t)
		tell(t, h, "passing too")
		tell(t, h, "four", keep)
		for _, n := range []*note{all, late, last, none} {
			n.wants(t, "passing too", "four")
		}
		if p, _ := at.Load("passing too"); p.(engine.Position) != "" {
			t.Errorf("what is not kept has the position %q", p)
		}
		events, gone, err := h.History(t.Context(), "room", two.(engine.Position), 10)
		if err != nil || gone || len(events) != 2 || events[1].Type != "chat.message" {
			t.Errorf("history after two: %v, %v, %v", events, gone, err)
		}
	})
}

func TestWhatIsGoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		var at sync.Map
		r := words(&at)
		resume(t, h, r, Replay{})
		tell(t, h, "short", Keep(time.Minute))
		synctest.Wait()
		short, _ := at.Load("short")
		tell(t, h, "long", Keep(time.Hour))
		time.Sleep(2 * time.Minute)
		resume(t, h, r, Replay{After: short.(engine.Position)}).wants(t, "GAP", "long")
		foreign := engine.Cursor{Offset: 1}.Position("another room")
		n := resume(t, h, r, Replay{After: foreign})
		n.wants(t, "GAP")
		resume(t, h, r, Replay{After: "no position"}).wants(t, "GAP")
		tell(t, h, "new", Keep(time.Hour))
		n.wants(t, "new")
	})
}

// lossy is a layer whose inboxes lose group messages, as a connection that
// breaks does.
type lossy struct {
	engine.Layer
	drop func(engine.Incoming) (lost, told bool)
}

type lossyInbox struct {
	engine.Inbox
	drop func(engine.Incoming) (lost, told bool)
}

func (l lossy) Attach(ctx context.Context) (engine.Inbox, error) {
	in, err := l.Layer.Attach(ctx)
	return &lossyInbox{in, l.drop}, err
}

func (l *lossyInbox) Receive(ctx context.Context) ([]engine.Incoming, error) {
	ins, err := l.Inbox.Receive(ctx)
	var out []engine.Incoming
	for _, in := range ins {
		lost, told := l.drop(in)
		if !lost {
			out = append(out, in)
		}
		if told {
			out = append(out, engine.Incoming{Group: in.Group, Lost: true})
		}
	}
	return out, err
}

func TestWhatAConnectionLosesIsReadAgain(t *testing.T) {
	for _, told := range []bool{false, true} {
		t.Run(fmt.Sprint("told: ", told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				h := open(t, lossy{mem(t), func(engine.Incoming) (bool, bool) {
					i := n.Add(1)
					return i >= 2 && i <= 4, told && i == 4
				}}, Options{})
				var heard []string
				ch, err := h.Open(func(e Event) { heard = append(heard, e.Type) })
				if err == nil {
					err = ch.Join(t.Context(), "room")
				}
				if err != nil {
					t.Fatal(err)
				}
				n1, n2 := resume(t, h, words(nil), Replay{}), resume(t, h, words(nil), Replay{})
				for i := range 4 {
					tell(t, h, fmt.Sprint(i), Keep(time.Hour))
					synctest.Wait()
				}
				want := []string{"0"}
				if told {
					want = []string{"0", "1", "2", "3"}
				}
				n1.wants(t, want...)
				n3 := resume(t, h, words(nil), Replay{})
				tell(t, h, "4", Keep(time.Hour))
				n1.wants(t, []string{"0", "1", "2", "3", "4"}[len(want):]...)
				n2.wants(t, "0", "1", "2", "3", "4")
				n3.wants(t, "0", "1", "2", "3", "4")
				if len(heard) != 5 {
					t.Errorf("who joined heard %d events, want each once", len(heard))
				}
			})
		})
	}
}

// TestNothingIsMissedOrDoubled has clients come at any time, while others send
// and the connection loses a third.
func TestNothingIsMissedOrDoubled(t *testing.T) {
	const sends, clients = 600, 60
	h := open(t, lossy{mem(t), func(in engine.Incoming) (bool, bool) { return in.Offset%3 == 0, in.Offset%7 == 0 }}, Options{})
	var at sync.Map
	r := words(&at)
	var work sync.WaitGroup
	var sent atomic.Int32
	work.Go(func() {
		for i := range sends {
			tell(t, h, fmt.Sprintf("%04d", i), Keep(time.Hour))
			sent.Store(int32(i))
		}
	})
	notes := make([]*note, clients)
	from := make([]int, clients)
	for c := range clients {
		work.Go(func() {
			for int(sent.Load()) < c*sends/clients { // they come all along
			}
			replay := Replay{}
			if n := int(sent.Load()); n > 0 {
				i := rand.N(n)
				if p, ok := at.Load(fmt.Sprintf("%04d", i)); ok {
					from[c], replay.After = i+1, p.(engine.Position)
				}
			}
			notes[c] = resume(t, h, r, replay)
		})
	}
	work.Wait()
	tell(t, h, "end", Keep(time.Hour)) // a loss at the very end is noticed by what comes next
	tell(t, h, "end", Keep(time.Hour))
	for c, n := range notes {
		want := make([]string, 0, sends)
		for i := from[c]; i < sends; i++ {
			want = append(want, fmt.Sprintf("%04d", i))
		}
		var got []string
		for end := time.Now().Add(20 * time.Second); ; {
			if got = n.all(); len(got) > 0 && got[len(got)-1] == "end" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("client %d never heard the end", c)
			}
			<-time.After(time.Millisecond)
		}
		if got = got[:slices.Index(got, "end")]; !slices.Equal(got, want) {
			t.Fatalf("client %d from %d got %d messages, want %d", c, from[c], len(got), len(want))
		}
	}
}

func TestAStormOfResumesSharesItsReads(t *testing.T) {
	h := open(t, slowHistory{mem(t)}, Options{})
	for i := range 5 {
		tell(t, h, fmt.Sprint(i), Keep(time.Hour))
	}
	r := words(nil)
	var storm sync.WaitGroup
	const clients = 500
	for range clients {
		storm.Go(func() { resume(t, h, r, Replay{}) })
	}
	storm.Wait()
	if n := h.Stats().Reads.Load(); n > clients/5 {
		t.Errorf("%d clients that ask for the same made %d reads", clients, n)
	}
}

// slowHistory takes its time, as a store on another machine does.
type slowHistory struct{ engine.Layer }

func (s slowHistory) History(ctx context.Context, group string, after uint64, most int) ([]engine.Kept, bool, error) {
	<-time.After(50 * time.Millisecond)
	return s.Layer.History(ctx, group, after, most)
}

// lateAnswer reads at once and answers later, as a network does.
type lateAnswer struct{ engine.Layer }

func (l lateAnswer) History(ctx context.Context, group string, after uint64, most int) ([]engine.Kept, bool, error) {
	kept, gone, err := l.Layer.History(ctx, group, after, most)
	<-time.After(50 * time.Millisecond)
	return kept, gone, err
}

// A read that began before a client came does not have what was sent in between.
func TestASharedReadIsNoOlderThanWhoSharesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, lateAnswer{mem(t)}, Options{})
		var at sync.Map
		r := words(&at)
		tell(t, h, "a", Keep(time.Hour))
		resume(t, h, r, Replay{})
		raw, _ := at.Load("a")
		pos, _ := raw.(engine.Position)

		var n1, n2 *note
		var both sync.WaitGroup
		both.Go(func() { n1 = resume(t, h, r, Replay{After: pos}) })
		<-time.After(10 * time.Millisecond)
		tell(t, h, "b", Keep(time.Hour))
		<-time.After(10 * time.Millisecond)
		both.Go(func() { n2 = resume(t, h, r, Replay{After: pos}) })
		both.Wait()
		n1.wants(t, "b")
		n2.wants(t, "b")
	})
}

func TestALongHistoryWaitsForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		for range 10 {
			tell(t, h, string(make([]byte, 50<<10)), Keep(time.Hour))
		}
		n := resume(t, h, words(nil), Replay{})
		if n.flushes < 3 || len(n.got) != 10 {
			t.Errorf("%d messages of 50 KiB were written with %d waits for the client", len(n.got), n.flushes)
		}
	})
}
