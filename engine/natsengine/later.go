package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Messages far ahead of their time wait as a plain backlog in RB_LATER, under
// rb.later.<bucket>.<queue>, since a schedule takes memory of the server's and
// a backlog does not. A bucket is the time of a few minutes; whoever holds the
// lock makes schedules of what is in it well before it is due.
const (
	streamLater  = "RB_LATER"
	subjectLater = "rb.later."
	lockLater    = "rb-later"
	hdrAt        = "Rb-At"     // when it is due
	hdrTarget    = "Rb-Target" // where it is to be delivered
)

// far says when a message is far ahead and when it is brought near.
type far struct {
	ahead  time.Duration // beyond that it goes to the backlog
	bucket time.Duration // how much time one subject holds
	lead   time.Duration // how long before a bucket begins it is brought near
	look   time.Duration // how often somebody looks
}

// lease is how long a mover that died keeps others from moving.
func (f far) lease() time.Duration { return max(2*f.look, time.Second) }

// defaultFar looks once a minute; a bucket is made schedules of at least nine
// minutes before the first of it is due.
var defaultFar = far{ahead: 15 * time.Minute, bucket: 5 * time.Minute, lead: 10 * time.Minute, look: time.Minute}

func (f far) bucketOf(t time.Time) int64 { return t.UnixNano() / int64(f.bucket) }

// postpone turns a scheduled message into one of the backlog.
func (f far) postpone(m *nats.Msg, p *engine.Publication) {
	m.Header[hdrAt] = []string{p.At.UTC().Format(time.RFC3339Nano)}
	m.Header[hdrTarget] = m.Header[jetstream.ScheduleTargetHeader]
	m.Header["Rb-Schedule"] = []string{m.Subject}
	delete(m.Header, jetstream.ScheduleHeader)
	delete(m.Header, jetstream.ScheduleTargetHeader)
	m.Subject = subjectLater + strconv.FormatInt(f.bucketOf(p.At), 10) + "." + token(p.Queue)
}

// bringNear turns it back.
func bringNear(m *nats.Msg) (*nats.Msg, error) {
	at, target, subject := m.Header.Get(hdrAt), m.Header.Get(hdrTarget), m.Header.Get("Rb-Schedule")
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil || target == "" || subject == "" {
		return nil, fmt.Errorf("a message of the backlog does not say when and where it is due")
	}
	out := natsMsg(subject, m.Data)
	for k, v := range m.Header {
		if strings.HasPrefix(k, "Rb-") && k != hdrAt && k != hdrTarget && k != "Rb-Schedule" || k == hdrType || k == hdrEncoding {
			out.Header[k] = v
		}
	}
	out.Header[jetstream.MsgIDHeader] = []string{subject} // it tells id and round
	out.Header[jetstream.ScheduleHeader] = []string{"@at " + at}
	out.Header[jetstream.ScheduleTargetHeader] = []string{target}
	return out, nil
}

// moveLoop brings buckets near until the engine is closed.
func (e *Engine) moveLoop() {
	t := time.NewTicker(e.far.look)
	defer t.Stop()
	for {
		if err := e.moveDue(e.life); err != nil && !e.closed() && !errors.Is(err, engine.ErrHeld) {
			e.log.Warn("bring delayed tasks near", "err", err)
		}
		select {
		case <-e.done:
			return
		case <-t.C:
		}
	}
}

// moveDue makes schedules of all buckets that are near.
func (e *Engine) moveDue(ctx context.Context) error {
	near, err := e.nearBuckets(ctx)
	if err != nil || len(near) == 0 {
		return err
	}
	fence, err := e.Acquire(ctx, lockLater, "natsengine", e.far.lease())
	if err != nil {
		return err
	}
	for _, bucket := range near {
		if err = e.moveBucket(ctx, bucket); err != nil {
			break
		}
		if err = e.Renew(ctx, lockLater, fence, e.far.lease()); err != nil {
			break
		}
	}
	return errors.Join(err, e.Release(ctx, lockLater, fence))
}

func (e *Engine) nearBuckets(ctx context.Context) ([]string, error) {
	s, err := e.api.Stream(ctx, streamLater)
	if err != nil {
		return nil, e.wrong(err)
	}
	if s.CachedInfo().State.Msgs == 0 {
		return nil, nil
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectLater+">"))
	if err != nil {
		return nil, e.wrong(err)
	}
	until := e.far.bucketOf(time.Now().Add(e.far.lead))
	seen := map[string]bool{}
	var near []string
	for subject := range info.State.Subjects {
		bucket, _, _ := strings.Cut(strings.TrimPrefix(subject, subjectLater), ".")
		n, err := strconv.ParseInt(bucket, 10, 64)
		if err == nil && n <= until && !seen[bucket] {
			seen[bucket] = true
			near = append(near, bucket)
		}
	}
	return near, nil
}

// moveBucket moves one bucket in slices. A schedule has the task's own
// subject, so one that is made twice is one.
func (e *Engine) moveBucket(ctx context.Context, bucket string) error {
	filter := subjectLater + bucket + ".>"
	for {
		msgs, err := e.directBatch(ctx, streamLater, 1, 256, filter)
		if err != nil || len(msgs) == 0 {
			return err
		}
		var out []*nats.Msg
		var last uint64
		for _, m := range msgs {
			rec, err := readRecord(m)
			if err != nil {
				return err
			}
			last = rec.seq
			near, err := bringNear(m)
			if err != nil {
				e.log.Error("delayed task dropped", "err", err)
				continue
			}
			out = append(out, near)
		}
		if _, err := e.publishAll(ctx, out); err != nil {
			return err
		}
		e.at("brought near")
		s, err := e.api.Stream(ctx, streamLater)
		if err == nil {
			err = s.Purge(ctx, jetstream.WithPurgeSubject(filter), jetstream.WithPurgeSequence(last+1))
		}
		if err != nil {
			return e.wrong(err)
		}
	}
}
