package celery_test

import (
	"testing"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

func TestClockGoesForward(t *testing.T) {
	var c celery.Clock
	for i, step := range []struct{ got, want uint64 }{
		{c.Forward(), 1}, {c.Adjust(7), 8}, {c.Adjust(3), 9}, {c.Adjust(1 << 60), 10}, {c.Forward(), 11}, {c.Now(), 11},
	} {
		if step.got != step.want {
			t.Errorf("step %d: got %d, want %d", i, step.got, step.want)
		}
	}
}
