package natsengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Queues implements engine.Broker.
func (e *Engine) Queues(ctx context.Context) ([]engine.QueueInfo, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	s, err := e.api.Stream(ctx, streamTasks)
	if err != nil {
		return nil, e.wrong(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectQueue+">"))
	if err != nil {
		return nil, e.wrong(err)
	}
	byName := map[string]*engine.QueueInfo{}
	at := func(tok string) *engine.QueueInfo {
		q := byName[tok]
		if q == nil {
			q = &engine.QueueInfo{Name: untoken(tok)}
			byName[tok] = q
		}
		return q
	}
	for subject, n := range info.State.Subjects {
		tok, _, _ := strings.Cut(strings.TrimPrefix(subject, subjectQueue), ".")
		at(tok).Ready += int(n)
	}
	if err := e.countHeld(ctx, s, at); err != nil {
		return nil, err
	}
	for tok, q := range byName {
		if q.Delayed, err = e.subjects(ctx, subjectETA+tok+".>"); err != nil {
			return nil, err
		}
		if q.Ready = max(q.Ready-q.Held, 0); q.Ready > 0 {
			q.Oldest = e.oldest(ctx, tok)
		}
	}
	if err := e.delayedOnly(ctx, at); err != nil {
		return nil, err
	}
	if err := e.countLater(ctx, at); err != nil {
		return nil, err
	}
	out := make([]engine.QueueInfo, 0, len(byName))
	for _, q := range byName {
		out = append(out, *q)
	}
	slices.SortFunc(out, func(a, b engine.QueueInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// countHeld adds what consumers have handed out.
func (e *Engine) countHeld(ctx context.Context, s jetstream.Stream, at func(string) *engine.QueueInfo) error {
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		tok, ok := strings.CutPrefix(c.Config.FilterSubject, subjectQueue)
		if !ok {
			continue
		}
		tok, _, _ = strings.Cut(tok, ".")
		at(tok).Held += c.NumAckPending
	}
	return e.wrong(list.Err())
}

// subjects counts the subjects under a filter without listing them all.
func (e *Engine) subjects(ctx context.Context, filter string) (int, error) {
	body, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": 0})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	m, err := e.sub.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+streamTasks, body)
	if err != nil {
		return 0, e.wrong(err)
	}
	var info struct {
		Total int `json:"total"`
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return 0, fmt.Errorf("stream info: %w", err)
	}
	return max(info.Total, len(info.State.Subjects)), nil
}

// delayedOnly finds queues that have delayed messages and nothing else, from
// the first page of them.
func (e *Engine) delayedOnly(ctx context.Context, at func(string) *engine.QueueInfo) error {
	m, err := e.directBatch(ctx, streamTasks, 1, 64, subjectETA+">")
	if err != nil {
		return err
	}
	for _, msg := range m {
		tok, _, _ := strings.Cut(strings.TrimPrefix(msg.Header.Get(jetstream.SubjectHeader), subjectETA), ".")
		q := at(tok)
		if q.Delayed == 0 {
			if q.Delayed, err = e.subjects(ctx, subjectETA+tok+".>"); err != nil {
				return err
			}
		}
	}
	return nil
}

// countLater adds what waits far ahead.
func (e *Engine) countLater(ctx context.Context, at func(string) *engine.QueueInfo) error {
	s, err := e.api.Stream(ctx, streamLater)
	if err != nil || s.CachedInfo().State.Msgs == 0 {
		return e.wrong(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectLater+">"))
	if err != nil {
		return e.wrong(err)
	}
	for subject, n := range info.State.Subjects {
		_, tok, _ := strings.Cut(strings.TrimPrefix(subject, subjectLater), ".")
		at(tok).Delayed += int(n)
	}
	return nil
}

func (e *Engine) oldest(ctx context.Context, tok string) time.Duration {
	msgs, err := e.directBatch(ctx, streamTasks, 1, 1, subjectQueue+tok+".*")
	if err != nil || len(msgs) == 0 {
		return 0
	}
	rec, err := readRecord(msgs[0])
	if err != nil {
		return 0
	}
	return max(time.Since(rec.time), 0)
}

// Purge implements engine.Broker. Ready messages are taken and removed, so
// that what is held is not touched.
func (e *Engine) Purge(ctx context.Context, queue string) (int, error) {
	if err := engine.CheckName("queue name", queue, engine.MaxQueue); err != nil {
		return 0, err
	}
	recv, err := e.Receive(ctx, engine.ReceiveOptions{Queues: []string{queue}})
	if err != nil {
		return 0, err
	}
	r := recv.(*receiver)
	defer r.Close()
	stash := r.unstash(true)
	defer r.rest()
	total := 0
	for {
		msgs, err := r.sweep(ctx, 256, stash)
		stash = nil
		if err != nil {
			return total, err
		}
		for _, m := range msgs {
			if err := e.ackSync(ctx, m); err != nil {
				return total, err
			}
			total++
		}
		if len(msgs) == 0 {
			break
		}
	}
	delayed, err := e.subjects(ctx, subjectETA+token(queue)+".>")
	if err == nil && delayed > 0 {
		err = e.purge(ctx, streamTasks, subjectETA+token(queue)+".>")
	}
	if err != nil {
		return total, err
	}
	later, err := e.purgeLater(ctx, token(queue))
	return total + delayed + later, err
}

func (e *Engine) purgeLater(ctx context.Context, tok string) (int, error) {
	s, err := e.api.Stream(ctx, streamLater)
	if err != nil {
		return 0, e.wrong(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjectLater+"*."+tok))
	if err != nil {
		return 0, e.wrong(err)
	}
	n := 0
	for _, of := range info.State.Subjects {
		n += int(of)
	}
	if n == 0 {
		return 0, nil
	}
	return n, e.wrong(s.Purge(ctx, jetstream.WithPurgeSubject(subjectLater+"*."+tok)))
}

func (e *Engine) ackSync(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	return e.wrong(m.AckSync(nats.Context(ctx)))
}

// currentEpoch returns a channel that is closed when the reading connection is
// lost the next time.
func (e *Engine) currentEpoch() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.epoch
}

// reconnected wakes everyone who may have missed something.
func (e *Engine) reconnected() {
	e.mu.Lock()
	close(e.epoch)
	e.epoch = make(chan struct{})
	receivers := make([]*receiver, 0, len(e.receivers))
	for r := range e.receivers {
		receivers = append(receivers, r)
	}
	e.mu.Unlock()
	for _, r := range receivers {
		r.renew()
		r.recheck()
	}
}

// recheck asks for revocations that were missed while the connection was lost.
func (r *receiver) recheck() {
	r.mu.Lock()
	ids := make([]string, 0, len(r.held))
	for id := range r.held {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // nobody's call
	defer cancel()
	for _, id := range ids {
		m, err := r.e.lastMsg(ctx, streamFlags, subjectRev+token(id))
		if err != nil {
			if !errors.Is(err, engine.ErrClosed) {
				r.e.log.Warn("look for revocations", "err", err)
			}
			return
		}
		if m != nil {
			r.e.stopHeld(id)
		}
	}
}
