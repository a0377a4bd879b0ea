package enginetest

import (
	"slices"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// BenchmarkLayer measures messages of 100 bytes. One operation is one message
// that was sent and received, or one pair of calls.
func BenchmarkLayer(b *testing.B, open func(testing.TB) engine.Set) {
	run(b, open, []bench{
		{"group send→receive", func(b *testing.B, s engine.Set) { benchGroup(b, s, 1, 1) }},
		{"group send→receive/batch100", func(b *testing.B, s engine.Set) { benchGroup(b, s, 1, 100) }},
		{"group send→receive/8 inboxes", func(b *testing.B, s engine.Set) { benchGroup(b, s, 8, 1) }},
		{"send→pop", benchPop},
		{"join+leave", benchJoin},
		{"announce+present", benchPresent},
	})
}

func benchInbox(b *testing.B, s engine.Set, group string) (in engine.Inbox, channel string) {
	in, err := s.Layer.Attach(b.Context())
	must(b, err)
	b.Cleanup(func() { in.Close() })
	channel, err = in.NewChannel("specific")
	must(b, err)
	if group != "" {
		must(b, in.Join(b.Context(), group, channel))
	}
	return in, channel
}

// benchGroup sends each batch after the one before was received by all.
func benchGroup(b *testing.B, s engine.Set, inboxes, batch int) {
	ins := make([]engine.Inbox, inboxes)
	for i := range ins {
		ins[i], _ = benchInbox(b, s, "g")
	}
	msgs := slices.Repeat([]engine.LayerMessage{{To: "g", Body: make([]byte, 100)}}, batch)
	b.ResetTimer()
	for range (b.N + batch - 1) / batch {
		must(b, s.Layer.GroupSend(b.Context(), msgs)...)
		for _, in := range ins {
			for n := 0; n < batch; {
				got, err := in.Receive(b.Context())
				must(b, err)
				n += len(got)
			}
		}
	}
}

func benchPop(b *testing.B, s engine.Set) {
	msgs := []engine.LayerMessage{{To: "p", Body: make([]byte, 100)}}
	for range b.N {
		must(b, s.Layer.Send(b.Context(), msgs)...)
		_, err := s.Layer.Pop(b.Context(), "p", 1)
		must(b, err)
	}
}

func benchJoin(b *testing.B, s engine.Set) {
	in, channel := benchInbox(b, s, "")
	for range b.N {
		must(b, in.Join(b.Context(), "g", channel), in.Leave(b.Context(), "g", channel))
	}
}

func benchPresent(b *testing.B, s engine.Set) {
	for range b.N {
		must(b, s.Layer.Announce(b.Context(), "g", "a", []byte("ann"), time.Minute))
		_, err := s.Layer.Present(b.Context(), "g")
		must(b, err)
	}
}
