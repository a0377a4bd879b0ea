package channels

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// heaps is a sink that notes what comes together.
type heaps struct{ got [][]string }

func (h *heaps) WriteShared(messages ...*Shared) error {
	var heap []string
	for _, m := range messages {
		heap = append(heap, string(m.Data))
	}
	h.got = append(h.got, heap)
	return nil
}

// A reader that is late gets what waited for it in one go; the groups' order
// stays.
func TestWhatCameTogetherIsWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, mem(t), Options{})
		ch, err := h.Open(func(Event) {})
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close(t.Context())
		held := make(chan struct{})
		slow := NewRelay(func(Event) (Message, error) { // holds up all that comes after it
			<-held
			return Message{Data: []byte("x")}, nil
		})
		text := NewRelay(func(e Event) (Message, error) { return Message{Data: []byte(e.Type)}, nil })
		var first, second, none heaps
		for group, to := range map[string]*heaps{"one": &first, "two": &second} {
			if err := ch.Follow(t.Context(), group, text, to); err != nil {
				t.Fatal(err)
			}
		}
		if err := ch.Follow(t.Context(), "gate", slow, &none); err != nil {
			t.Fatal(err)
		}
		send := func(group, typ string) {
			t.Helper()
			e, err := NewEvent(typ, nil)
			if err == nil {
				err = h.GroupSend(t.Context(), group, e)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // one is held up, and one waits for it, outside the inbox
			send("gate", "x")
			synctest.Wait()
		}
		for i := range 3 {
			send("one", fmt.Sprint("a", i))
		}
		send("two", "b0")
		send("one", "a3")
		for i := range maxTogether + 1 {
			send("two", fmt.Sprint("c", i))
		}
		close(held)
		synctest.Wait()
		if got := fmt.Sprint(first.got); got != "[[a0 a1 a2] [a3]]" {
			t.Errorf("the first group came as %s", got)
		}
		if n := len(second.got); n != 3 || len(second.got[1]) != maxTogether || len(second.got[2]) != 1 {
			t.Errorf("the second group came as %v, want heaps of 1, %d and 1", second.got, maxTogether)
		}
	})
}

// Of a heap of kept messages a reader gets those that it does not have.
func TestAHeapHasNothingTwice(t *testing.T) {
	var to heaps
	f := &follower{sink: &to, last: 3}
	m := func(offset uint64) *Shared {
		return &Shared{Message: Message{Data: []byte(fmt.Sprint(offset))}, offset: offset}
	}
	f.offer([]*Shared{m(2), m(3), m(4), m(0), m(5)})
	f.offer([]*Shared{m(6), m(5), m(0), m(7)})
	var all []string
	for _, heap := range to.got {
		all = append(all, heap...)
	}
	if want := []string{"4", "0", "5", "6", "0", "7"}; !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}

// Whoever leaves a crowd takes nobody with them.
func TestACrowdKeepsItsOrder(t *testing.T) {
	a := crowd{place: map[*Channel]int{}}
	channels, followers := make([]*Channel, 5), make([]*follower, 5)
	for i := range channels {
		channels[i], followers[i] = new(Channel), new(follower)
		a.put(channels[i], followers[i])
	}
	again := new(follower)
	a.put(channels[3], again)
	a.remove(channels[1])
	a.remove(channels[1])
	a.remove(new(Channel))
	if want := []*follower{followers[0], followers[4], followers[2], again}; !slices.Equal(a.followers, want) {
		t.Errorf("got %v, want %v", a.followers, want)
	}
	for _, c := range []*Channel{channels[4], channels[3], channels[0], channels[2]} {
		a.remove(c)
	}
	if len(a.followers)+len(a.channels)+len(a.place) != 0 {
		t.Errorf("%d are left", len(a.followers))
	}
}

// BenchmarkOffer hands messages to followers that take no time.
func BenchmarkOffer(b *testing.B) {
	for _, together := range []int{1, 16} {
		b.Run(fmt.Sprint(together, " together"), func(b *testing.B) {
			a := crowd{place: map[*Channel]int{}}
			for range 1000 {
				a.put(new(Channel), &follower{sink: nowhere{}})
			}
			heap := slices.Repeat([]*Shared{{Message: Message{Data: []byte("x")}}}, together)
			b.ReportAllocs()
			for b.Loop() {
				for _, f := range a.followers {
					f.offer(heap)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N*1000*together)/float64(time.Nanosecond), "ns/delivery")
		})
	}
}

type nowhere struct{}

func (nowhere) WriteShared(...*Shared) error { return nil }
