package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/stream"
)

func TestLostRecordsAreOneGap(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{Count: 2})
	write(t, w, "1", "2")
	s := stream.Open(eng, "s")
	at := read(t, s, "")
	write(t, w, "3", "4", "5")
	end(t, w)
	want := []string{"data 1.4 4", "data 1.5 5", "end 1.6 over"}
	expect(t, "from the start", tail(t, s, ""), append([]string{"reset 1.0 ", `gap 1.0 {"missing":3,"reason":"retention"}`}, want...)...)
	expect(t, "after 1", tail(t, s, at[1].Pos), append([]string{`gap 1.1 {"missing":2,"reason":"retention"}`}, want...)...)
	expect(t, "after 2", tail(t, s, at[2].Pos), append([]string{`gap 1.2 {"missing":1,"reason":"retention"}`}, want...)...)
	expect(t, "read after 2", read(t, s, at[2].Pos), append([]string{`gap 1.2 {"missing":1,"reason":"retention"}`}, want...)...)
}

func TestAGapLeavesTheReaderWhereItWas(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{Count: 1})
	write(t, w, "1")
	s := stream.Open(eng, "s")
	at := read(t, s, "")[1].Pos
	write(t, w, "2", "3", "4")
	gap := read(t, s, at)[0]
	if g := gapOf(t, gap); g != (stream.Gap{Missing: 2, Reason: stream.Retention}) {
		t.Errorf("got %+v", g)
	}
	expect(t, "after the gap itself", read(t, s, gap.Pos), lines(read(t, s, at))...)
}

func TestAResetMakesWhatIsLostBeforeItVoid(t *testing.T) {
	eng := open(t)
	w := begin(t, eng, "s", engine.Retention{Count: 1})
	write(t, w, "1")
	s := stream.Open(eng, "s")
	at := read(t, s, "")[1].Pos
	write(t, w, "2", "3")
	w = begin(t, eng, "s", engine.Retention{Count: 1})
	write(t, w, "again")
	expect(t, "over the reset", read(t, s, at), "reset 2.0 ", "data 2.1 again")
}

func TestRecordsOfAnAttemptWithoutItsResetAreAGap(t *testing.T) {
	eng := open(t)
	begin(t, eng, "s", engine.Retention{})
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "1")
	s := stream.Open(eng, "s")
	last := read(t, s, "")[2].Pos
	c, err := last.Cursor("s")
	if err != nil {
		t.Fatal(err)
	}
	c.Offset, c.Attempt, c.N = c.Offset-1, 1, 7 // a reader that missed the reset
	if got := lines(read(t, s, c.Position("s"))); !strings.HasPrefix(got[0], "gap ") {
		t.Errorf("got %q, want a gap", got)
	}
}

func TestAPositionThatIsNotOursIsOneGapAndThenEverything(t *testing.T) {
	eng := open(t)
	other := begin(t, eng, "other", engine.Retention{})
	write(t, other, "x")
	foreign := read(t, stream.Open(eng, "other"), "")[0].Pos
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "1")
	s := stream.Open(eng, "s")
	all := read(t, s, "")
	future := engine.Cursor{Offset: 1 << 60, Attempt: 1, N: 9}.Position("s")
	c, err := all[1].Pos.Cursor("s")
	if err != nil {
		t.Fatal(err)
	}
	c.N += 5
	forged := c.Position("s")
	end(t, w)
	all = read(t, s, "")
	for what, pos := range map[string]engine.Position{
		"foreign": foreign, "from the future": future, "forged": forged,
		"garbage": "garbage", "text": "ü\x00\n", "huge": engine.Position(strings.Repeat("a", 1<<20)), "a number": "-1",
	} {
		want := append([]string{`gap 0.0 {"reason":"position"}`}, lines(all)...)
		got := tail(t, s, pos)
		expect(t, "tail of a position that is "+what, got, want...)
		expect(t, "read of a position that is "+what, read(t, s, pos), want...)
		expect(t, "after that gap", tail(t, s, got[0].Pos), lines(all)...)
	}
}

func TestAPositionOfADeletedStreamIsAGapAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t)
		w := begin(t, eng, "s", engine.Retention{})
		write(t, w, "1", "2")
		s := stream.Open(eng, "s")
		at := read(t, s, "")[1].Pos
		if err := eng.Delete(t.Context(), []string{"s"}); err != nil {
			t.Fatal(err)
		}
		got := make(chan engine.Record)
		go func() {
			defer close(got)
			for r, err := range s.Tail(t.Context(), at) {
				if err != nil {
					t.Error(err)
					return
				}
				got <- r
			}
		}()
		begun := time.Now()
		go func() { // the reader is told before there is anything new
			time.Sleep(time.Hour)
			w := begin(t, eng, "s", engine.Retention{})
			write(t, w, "new")
			end(t, w)
		}()
		first := <-got
		if g := gapOf(t, first); g.Reason != stream.Position || !time.Now().Equal(begun) {
			t.Errorf("got %s after %v, want a gap at once", line(first), time.Since(begun))
		}
		rest := []engine.Record{}
		for r := range got {
			rest = append(rest, r)
		}
		expect(t, "the new stream", rest, "reset 1.0 ", "data 1.1 new", "end 1.2 over")
	})
}

func TestAnotherStreamOfTheSameNameIsToldApart(t *testing.T) {
	eng := open(t)
	begin(t, eng, "s", engine.Retention{})
	w := begin(t, eng, "s", engine.Retention{})
	write(t, w, "old")
	s := stream.Open(eng, "s")
	all := read(t, s, "")
	if err := eng.Delete(t.Context(), []string{"s"}); err != nil {
		t.Fatal(err)
	}
	write(t, begin(t, eng, "s", engine.Retention{}), "new")
	got := read(t, s, all[len(all)-1].Pos)
	if len(got) != 3 || gapOf(t, got[0]).Reason != stream.Position {
		t.Errorf("got %q, want a gap and the new stream", lines(got))
	}
}

func TestAgeIsAGapToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := open(t)
		w := begin(t, eng, "s", engine.Retention{Age: time.Hour})
		s := stream.Open(eng, "s")
		for i := range 5 {
			write(t, w, fmt.Sprint(i))
			time.Sleep(25 * time.Minute)
		}
		end(t, w)
		expect(t, "after two hours", tail(t, s, ""),
			"reset 1.0 ", `gap 1.0 {"missing":3,"reason":"retention"}`, "data 1.4 3", "data 1.5 4", "end 1.6 over")
	})
}
