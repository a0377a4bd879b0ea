package natsengine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Begin implements engine.Streams.
func (e *Engine) Begin(ctx context.Context, stream string) (engine.Fence, error) {
	if err := engine.CheckName("stream name", stream, engine.MaxID); err != nil {
		return 0, err
	}
	log, prefix := logOf(stream)
	for {
		last, err := e.last(ctx, log, prefix+"c")
		if err != nil {
			return 0, err
		}
		if last.final() {
			return 0, engine.ErrEnded
		}
		rec := &record{kind: engine.KindReset, status: engine.Started, attempt: 1}
		var seq uint64
		if last != nil {
			rec.attempt, seq = last.attempt+1, last.seq
		}
		m, err := rec.msgOf(prefix + "c")
		if err != nil {
			return 0, err
		}
		expect(m, seq)
		if seq, err = e.publish(ctx, m); err == nil {
			e.openWriter(stream, engine.Fence(seq), rec.attempt)
			return engine.Fence(seq), nil
		}
		if !errors.Is(err, engine.ErrSuperseded) {
			return 0, err
		}
	}
}

// End implements engine.Streams.
func (e *Engine) End(ctx context.Context, stream string, fence engine.Fence, payload []byte, ttl time.Duration) error {
	if err := engine.CheckSize("end record", len(payload), engine.MaxRecord); err != nil {
		return err
	}
	w := e.writer(stream, fence)
	if w == nil {
		return engine.ErrSuperseded
	}
	w.mu.Lock() // until it is stored, so that no record gets its number
	defer w.mu.Unlock()
	rec := &record{kind: engine.KindEnd, status: engine.Success, attempt: w.attempt, n: w.n + 1, payload: payload, fence: uint64(fence)}
	m, err := rec.msgOf(w.prefix + "c")
	if err != nil {
		return err
	}
	expect(m, uint64(fence))
	m.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
	setTTL(m, keep(&engine.State{TTL: ttl}))
	if _, err = e.publish(ctx, m); err == nil || errors.Is(err, engine.ErrSuperseded) {
		e.closeWriter(stream, fence)
	}
	return err
}

// Read implements engine.Streams.
func (e *Engine) Read(ctx context.Context, stream string, after engine.Position, limit int) ([]engine.Record, error) {
	cur, err := after.Cursor(stream)
	if err != nil {
		return nil, err
	}
	return e.read(ctx, stream, cur, limit)
}

func (e *Engine) read(ctx context.Context, stream string, cur engine.Cursor, limit int) ([]engine.Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	raws, err := e.batch(ctx, stream, cur.Offset+1, limit)
	if err != nil {
		return nil, err
	}
	if gone, err := e.gone(ctx, stream, raws); gone || err != nil {
		return nil, err
	}
	v := viewer{stream: stream, cur: cur}
	var out []engine.Record
	for _, r := range raws {
		out = v.add(out, r)
	}
	return out[:min(len(out), limit)], nil
}

// gone reports whether the control records of a log have run out: then the
// stream is over its time, whatever else is still there for a while.
func (e *Engine) gone(ctx context.Context, stream string, raws []*record) (bool, error) {
	log, prefix := logOf(stream)
	for _, r := range raws {
		if r.subject == prefix+"c" {
			return false, nil
		}
	}
	if len(raws) == 0 {
		return false, nil
	}
	last, err := e.last(ctx, log, prefix+"c")
	return last == nil && err == nil, err
}

// viewer turns stored records into those a reader sees. A settlement replaces
// the control records before it; the resets that opened the attempts are made
// again where the next record shows that they were there.
type viewer struct {
	stream string
	cur    engine.Cursor
}

func (v *viewer) add(out []engine.Record, r *record) []engine.Record {
	if r.kind == kindFree || r.kind == kindRetry {
		v.cur.Offset = r.seq
		return out
	}
	opened := r.attempt // resets up to this one came before r
	if r.kind == engine.KindReset {
		opened--
	}
	for a := max(v.cur.Attempt+1, opened-maxResets); a <= opened; a++ {
		before := engine.Cursor{Offset: r.seq - 1, Attempt: a}
		out = append(out, engine.Record{Pos: before.Position(v.stream), Attempt: a, Kind: engine.KindReset, Time: r.time})
	}
	v.cur = engine.Cursor{Offset: r.seq, Attempt: r.attempt, N: r.n}
	return append(out, engine.Record{
		Pos: v.cur.Position(v.stream), Attempt: r.attempt, N: r.n, Kind: r.kind, Payload: r.payload, Time: r.time,
	})
}

// maxResets bounds the resets that are made again at one place.
const maxResets = 100

// batch reads up to limit records of a log from a sequence on.
func (e *Engine) batch(ctx context.Context, stream string, seq uint64, limit int) ([]*record, error) {
	log, prefix := logOf(stream)
	msgs, err := e.directBatch(ctx, log, seq, min(limit, 512), prefix+"*")
	if err != nil {
		return nil, err
	}
	out := make([]*record, 0, len(msgs))
	for _, m := range msgs {
		r, err := readRecord(m)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// directBatch asks a stream's direct API for up to most messages of a subject,
// from a sequence on.
func (e *Engine) directBatch(ctx context.Context, log string, seq uint64, most int, subject string) ([]*nats.Msg, error) {
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"next_by_subj":%q}`, seq, most, subject)
	var out []*nats.Msg
	err := e.again(ctx, func(ctx context.Context) (err error) {
		out, err = e.directTry(ctx, log, most, request)
		return err
	})
	return out, err
}

func (e *Engine) directTry(ctx context.Context, log string, most int, request []byte) ([]*nats.Msg, error) {
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, most+1) // SubscribeSync makes one of half a megabyte
	sub, err := e.sub.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer e.unsubscribe(sub)
	if err := e.sub.PublishRequest("$JS.API.DIRECT.GET."+log, inbox, request); err != nil {
		return nil, err
	}
	var out []*nats.Msg
	for {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.done:
			return nil, engine.ErrClosed
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			out = append(out, m)
		case "204", "404": // end of batch; nothing there
			return out, nil
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("read %s: %s %s", log, status, m.Header.Get("Description"))
		}
	}
}

// Tail implements engine.Streams.
func (e *Engine) Tail(ctx context.Context, stream string, after engine.Position) iter.Seq2[[]engine.Record, error] {
	return func(yield func([]engine.Record, error) bool) {
		cur, err := after.Cursor(stream)
		if err != nil {
			yield(nil, err)
			return
		}
		_, prefix := logOf(stream)
		l, err := e.listen(liveSubject(prefix + "*"))
		if err != nil {
			yield(nil, err)
			return
		}
		defer l.close()
		for {
			recs, err := e.read(ctx, stream, cur, 256)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(recs) > 0 {
				if !yield(recs, nil) || recs[len(recs)-1].Kind == engine.KindEnd {
					return
				}
				if cur, err = recs[len(recs)-1].Pos.Cursor(stream); err != nil {
					yield(nil, err)
					return
				}
				continue
			}
			if over, err := e.atEnd(ctx, stream, cur); over || err != nil {
				if err != nil {
					yield(nil, err)
				}
				return
			}
			if done := e.live(ctx, l, &viewer{stream, cur}, &cur, yield); done {
				return
			}
		}
	}
}

// atEnd reports whether a reader who found nothing has read the end.
func (e *Engine) atEnd(ctx context.Context, stream string, cur engine.Cursor) (bool, error) {
	if cur.Offset == 0 {
		return false, nil
	}
	log, prefix := logOf(stream)
	last, err := e.last(ctx, log, prefix+"c")
	return last.final() && last.seq <= cur.Offset, err
}

// live yields records as they are stored until something was missed; then the
// store is read again.
func (e *Engine) live(ctx context.Context, l *listener, v *viewer, cur *engine.Cursor, yield func([]engine.Record, error) bool) (done bool) {
	for {
		m, err := l.next(ctx)
		if err != nil {
			yield(nil, err)
			return true
		}
		if m == nil { // messages were lost, or the connection was
			*cur = v.cur
			return false
		}
		r, err := readRecord(m)
		if err != nil {
			yield(nil, err)
			return true
		}
		if r.seq <= v.cur.Offset {
			continue
		}
		recs := v.add(nil, r)
		if len(recs) == 0 {
			continue
		}
		if !yield(recs, nil) || r.kind == engine.KindEnd {
			return true
		}
	}
}

// liveSubject is where the server republishes what it has stored.
func liveSubject(subject string) string { return "rb.live" + subject[len("rb.log"):] }

// listener hears what is stored under a subject from the moment it is made.
type listener struct {
	e     *Engine
	subs  []*nats.Subscription
	ch    chan *nats.Msg
	lost  atomic.Bool
	epoch <-chan struct{} // closed when the connection was lost since
}

// maxLive bounds what waits for one reader; beyond it the store is read again.
const maxLive = 256

func (e *Engine) listen(subjects ...string) (*listener, error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	l := &listener{e: e, ch: make(chan *nats.Msg, maxLive), epoch: e.currentEpoch()}
	for _, s := range subjects {
		sub, err := e.sub.Subscribe(s, func(m *nats.Msg) {
			select {
			case l.ch <- m:
			default:
				l.lost.Store(true)
			}
		})
		if err != nil {
			l.close()
			return nil, e.wrong(err)
		}
		l.subs = append(l.subs, sub)
	}
	if err := e.again(context.Background(), e.sub.FlushWithContext); err != nil { // bounded by itself
		l.close()
		return nil, err
	}
	return l, nil
}

// next returns what comes next, or nil if something may have been missed.
func (l *listener) next(ctx context.Context) (*nats.Msg, error) {
	if l.lost.Swap(false) {
		for len(l.ch) > 0 {
			<-l.ch
		}
		return nil, nil
	}
	select {
	case m := <-l.ch:
		return m, nil
	case <-l.epoch:
		l.epoch = l.e.currentEpoch()
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.e.done:
		return nil, engine.ErrClosed
	}
}

func (l *listener) close() {
	for _, s := range l.subs {
		l.e.unsubscribe(s)
	}
}

// Delete implements engine.Streams.
func (e *Engine) Delete(ctx context.Context, streams []string) error {
	for _, name := range streams {
		log, prefix := logOf(name)
		if err := e.purge(ctx, log, prefix+"*"); err != nil {
			return err
		}
		e.mu.Lock()
		delete(e.writers, name)
		e.mu.Unlock()
	}
	return nil
}

func (e *Engine) purge(ctx context.Context, stream, subject string) error {
	s, err := e.api.Stream(ctx, stream)
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	return e.wrong(err)
}
