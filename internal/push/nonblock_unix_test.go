//go:build unix

package push

import "testing"

func TestSocketsWithRoomAreNotWaitedFor(t *testing.T) {
	for _, tr := range transports[:2] {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{})
			for range 10 {
				p.push(t, "some")
				p.expect(t, "some")
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if got := r.pool.Stats().Waits; got != 0 {
				t.Errorf("a goroutine waited %d times", got)
			}
		})
	}
}
