package engine_test

import (
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestPositionsSortLikeTheStream(t *testing.T) {
	cursors := []engine.Cursor{
		{Offset: 1, Attempt: 1},
		{Offset: 2, Attempt: 1, N: 9},
		{Offset: 16, Attempt: 1, N: 10},
		{Offset: 1 << 40, Attempt: 12, N: 0},
	}
	var got []string
	for _, c := range cursors {
		got = append(got, string(c.Position("task")))
	}
	if !slices.IsSorted(got) {
		t.Errorf("positions of growing offsets do not grow: %q", got)
	}
}

func TestPositionIsSafeAnywhere(t *testing.T) {
	most := engine.Cursor{Offset: math.MaxUint64, Attempt: math.MaxInt32 - 1, N: math.MaxUint64}
	pos := most.Position(strings.Repeat("ü", engine.MaxID/2))
	if len(pos) > 128 || !regexp.MustCompile(`^[A-Za-z0-9._~-]+$`).MatchString(string(pos)) {
		t.Errorf("the largest position is %q (%d bytes), want at most 128 of [A-Za-z0-9._~-]", pos, len(pos))
	}
}

func TestPositionOfAnotherStreamIsRefused(t *testing.T) {
	pos := engine.Cursor{Offset: 7, Attempt: 1, N: 3}.Position("a")
	if _, err := pos.Cursor("b"); !errors.Is(err, engine.ErrPosition) {
		t.Errorf("a position of stream a read as one of b: got %v, want ErrPosition", err)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("task", "")
	f.Add("task", string(engine.Cursor{Offset: 7, Attempt: 2, N: 3}.Position("task")))
	f.Add("task", "0000-0000000000007-2-03")
	f.Fuzz(func(t *testing.T, stream, pos string) {
		c, err := engine.Position(pos).Cursor(stream)
		if err != nil {
			if !errors.Is(err, engine.ErrPosition) {
				t.Errorf("Cursor(%q) of %q: got %v, want ErrPosition", pos, stream, err)
			}
			return
		}
		if got := c.Position(stream); pos != "" && string(got) != pos {
			t.Errorf("position %q of %q came back as %q", pos, stream, got)
		}
	})
}

// Browsers keep positions for as long as they like, so the form is for ever.
func TestPositionKeepsItsForm(t *testing.T) {
	for want, c := range map[engine.Position]engine.Cursor{
		"7c24-0000000000000-0-0":                  {},
		"7c24-00000000000ff-2-10":                 {Offset: 255, Attempt: 2, N: 16},
		"7c24-ffffffffffffffff-7fffffff-ffffffff": {Offset: math.MaxUint64, Attempt: math.MaxInt32, N: math.MaxUint32},
	} {
		if got := c.Position("task"); got != want {
			t.Errorf("position of %+v: got %s, want %s", c, got, want)
		}
		if got, err := want.Cursor("task"); got != c || err != nil {
			t.Errorf("cursor of %s: got %+v, %v, want %+v", want, got, err, c)
		}
	}
}
