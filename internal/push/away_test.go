package push

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// sent away, and when.
func sentAway(ctx context.Context, grace time.Duration, n int, slow func(i int) time.Duration) (at, retries []time.Duration) {
	start := time.Now()
	Away(ctx, grace, n, func(i int, retry time.Duration) {
		at, retries = append(at, time.Since(start)), append(retries, retry)
		<-time.After(slow(i))
	})
	return at, retries
}

func none(int) time.Duration { return 0 }

func TestAwayIsSpreadEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, _ := sentAway(t.Context(), time.Second, 4, none)
		if want := []time.Duration{0, time.Second / 4, time.Second / 2, time.Second * 3 / 4}; !slices.Equal(at, want) {
			t.Errorf("sent away after %v, want %v", at, want)
		}
	})
}

func TestAwayMakesUpForWhatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, _ := sentAway(t.Context(), time.Second, 100, func(i int) time.Duration {
			if i == 0 {
				return 700 * time.Millisecond
			}
			return 0
		})
		if last := at[len(at)-1]; len(at) != 100 || last != 990*time.Millisecond {
			t.Errorf("the last of %d was sent away after %v, want 990ms", len(at), last)
		}
	})
}

func TestAwayEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		if at, _ := sentAway(ctx, time.Second, 10, none); len(at) != 3 {
			t.Errorf("%d were sent away in 250 ms, want 3", len(at))
		}
	})
}

func TestWhoIsSentAwayComesBackAtATimeOfTheirOwn(t *testing.T) {
	for grace, most := range map[time.Duration]time.Duration{0: 2 * time.Second, time.Second: 2 * time.Second, 8 * time.Second: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			_, retries := sentAway(t.Context(), grace, 1000, none)
			slices.Sort(retries)
			if retries[0] < time.Second || retries[999] >= most || retries[999]-retries[0] < (most-time.Second)*9/10 {
				t.Errorf("with a grace of %v they are told %v to %v, want them spread over 1s to %v", grace, retries[0], retries[999], most)
			}
			if n := len(slices.Compact(retries)); n < 990 {
				t.Errorf("with a grace of %v a thousand are told %d times", grace, n)
			}
		})
	}
}
