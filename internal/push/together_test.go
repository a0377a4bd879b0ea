package push

import (
	"testing"
	"time"
)

// What is pushed together is one write, and counts as what it is.
func TestMessagesPushedTogetherAreOneWrite(t *testing.T) {
	r := newRig(t)
	p := r.tcp(ConnOptions{})
	if err := p.Push([]byte("one "), []byte("two "), nil, []byte("three")); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "one two three")
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.pool.Stats(); s.Pushed != 3 || s.Writes != 1 {
		t.Errorf("%d messages in %d writes, want 3 in 1", s.Pushed, s.Writes)
	}
	if err := p.Push(); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// Of many at once a full queue takes as many as one after the other.
func TestAQueueThatIsFullInTheMiddle(t *testing.T) {
	many := make([][]byte, 100)
	for i := range many {
		many[i] = message(0, i, 1000)
	}
	r := newRig(t)
	drops := r.pipe(ConnOptions{Limit: 10_000, Policy: Drop, WriteTimeout: time.Hour})
	if err := drops.Push(many...); err != nil {
		t.Errorf("the policy Drop: %v", err)
	}
	if taken, dropped := r.pool.Stats().Pushed, drops.Dropped(); taken != 10 || dropped != 90 {
		t.Errorf("%d were taken and %d dropped, want 10 and 90", taken, dropped)
	}
	ends := r.pipe(ConnOptions{Limit: 10_000, WriteTimeout: time.Hour})
	checkSlow(t, ends, ends.Push(many...), Stats{Conns: 1, Overflows: 1, Dropped: 90})
}
