package event

import (
	"errors"
	"sync/atomic"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Stats counts a sender's events since it was made.
type Stats struct {
	Sent    uint64 // that the engine took
	Away    uint64 // dropped: the engine did not take them
	Full    uint64 // dropped: too many waited
	Refused uint64 // dropped: too large, or a type that is no routing key
	Stopped uint64 // dropped: Run had ended
}

type counts struct{ sent, away, full, refused, stopped atomic.Uint64 }

func (c *counts) add(events int, err error) {
	n := uint64(events)
	switch {
	case err == nil:
		c.sent.Add(n)
	case errors.Is(err, engine.ErrLimit):
		c.refused.Add(n)
	default:
		c.away.Add(n)
	}
}

// Stats returns the numbers of this moment.
func (s *Sender) Stats() Stats {
	c := &s.counts
	return Stats{c.sent.Load(), c.away.Load(), c.full.Load(), c.refused.Load(), c.stopped.Load()}
}
