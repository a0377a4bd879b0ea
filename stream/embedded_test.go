package stream_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/stream"
)

func TestOnTheEmbeddedEngineToo(t *testing.T) {
	eng, err := embedded.Open(t.Context(), t.TempDir(), &embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "a", "b")
	w = begin(t, eng, "s", engine.Retention{Count: 2})
	write(t, w, "c")
	s := stream.Open(eng, "s")
	live := read(t, s, "")
	for i, r := range live { // positions from before the end
		expect(t, "live, after "+line(r), read(t, s, r.Pos), lines(live)[i+1:]...)
	}
	end(t, w)
	want := []string{"reset 1.0 ", "data 1.1 a", "data 1.2 b", "reset 2.0 ", "data 2.1 c", "end 2.2 over"}
	all := tail(t, s, "")
	expect(t, "tail", all, want...)
	for i, r := range all {
		expect(t, "tail after "+line(r), tail(t, s, r.Pos), want[i+1:]...)
		expect(t, "read after "+line(r), read(t, s, r.Pos), want[i+1:]...)
	}
	for i, r := range live {
		expect(t, "tail after the earlier "+line(r), tail(t, s, r.Pos), want[i+1:]...)
	}
	for _, pos := range []engine.Position{"garbage", engine.Cursor{Offset: 1 << 50, Attempt: 1, N: 3}.Position("s")} {
		begun := time.Now()
		expect(t, "tail after "+string(pos), tail(t, s, pos), append([]string{`gap 0.0 {"reason":"position"}`}, want...)...)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("after %v", took)
		}
	}
}
