package worker

import (
	"context"

	"github.com/rhubarb-go/rhubarb/engine"
)

// topicParked carries the name of a task that a worker has parked, so that
// workers that know it can release it.
var topicParked = engine.Topic{Exchange: "rhubarb.parked"}

// partOfChord is the reason of a message that is parked though its task is
// known. No worker of this version can run it, so none releases it.
const partOfChord = "it is part of a chord, which this version does not run"

// watchParked releases parked messages of tasks this worker knows: those that
// wait when it starts, and those that others park later.
func (s *session) watchParked(ctx context.Context) {
	broker := s.app.Engines().Broker
	parked, err := broker.Listen(ctx, topicParked)
	if err != nil {
		s.log.Warn("listen for parked tasks", "err", err)
		return
	}
	s.unpark(ctx)
	for m := range parked {
		if s.tasks[string(m.Body)] != nil {
			s.unpark(ctx)
		}
	}
}

// unpark goes through the shelf once.
func (s *session) unpark(ctx context.Context) {
	broker := s.app.Engines().Broker
	const page = 200
	for after := ""; ; {
		list, err := broker.Shelved(ctx, engine.Parked, after, page)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("list parked tasks", "err", err)
			}
			return
		}
		var ids []string
		for _, m := range list {
			if s.tasks[m.Task] != nil && m.Reason != partOfChord {
				ids = append(ids, m.ID)
			}
		}
		for i, err := range broker.Restore(ctx, engine.Parked, ids) {
			if err != nil && ctx.Err() == nil {
				s.log.Warn("release parked task", "id", ids[i], "err", err)
			}
		}
		if len(list) < page {
			return
		}
		after = list[len(list)-1].ID
	}
}
