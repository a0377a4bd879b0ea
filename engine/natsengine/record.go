package natsengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// A task's control subject, rb.log.<pp>.<id>.c, holds its claims and states.
// The sequence of its last record is the task's fence.
const (
	hdrKind       = "Rb-Kind"    // an engine.Kind, or kindFree
	hdrStatus     = "Rb-Status"  // Celery's
	hdrAttempt    = "Rb-Attempt" // runs so far
	hdrDeliveries = "Rb-Deliveries"
	hdrN          = "Rb-N"      // number within the attempt
	hdrMsg        = "Rb-Msg"    // the message's sequence in RB_TASKS
	hdrFence      = "Rb-Fence"  // the claim that wrote it
	hdrOutbox     = "Rb-Outbox" // length of the outbox behind the payload
	kindFree      = "free"      // the claim was given back; not shown to readers
	kindRetry     = "retry"     // the run asked for another; its state is under ….s
	maxOutbox     = 900_000
)

// record is one entry of a log, control or not.
type record struct {
	seq        uint64
	subject    string
	time       time.Time
	kind       engine.Kind
	status     string
	attempt    int
	deliveries int
	n          uint64
	msg        uint64 // sequence of the task message
	round      int
	fence      uint64
	payload    []byte
	outbox     *outbox
}

// outbox is what must still happen because of a settlement. It is kept inside
// the record, so that whoever meets the leftover message can do it.
type outbox struct {
	Follow []followUp `json:"follow,omitempty"`
	Shelf  string     `json:"shelf,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

type followUp struct {
	Pub engine.Publication
}

func (r *record) final() bool { return r != nil && r.kind == engine.KindEnd }

// msgOf writes a record for a subject of its log.
func (r *record) msgOf(subject string) (*nats.Msg, error) {
	h := nats.Header{
		hdrKind:    {string(r.kind)},
		hdrAttempt: {strconv.Itoa(r.attempt)},
		hdrN:       {strconv.FormatUint(r.n, 10)},
	}
	if r.status != "" {
		h[hdrStatus] = []string{r.status}
	}
	if r.deliveries != 0 {
		h[hdrDeliveries] = []string{strconv.Itoa(r.deliveries)}
	}
	if r.msg != 0 {
		h[hdrMsg] = []string{strconv.FormatUint(r.msg, 10)}
	}
	if r.round != 0 {
		h[hdrRound] = []string{strconv.Itoa(r.round)}
	}
	if r.fence != 0 {
		h[hdrFence] = []string{strconv.FormatUint(r.fence, 10)}
	}
	m := &nats.Msg{Subject: subject, Header: h, Data: r.payload}
	if r.outbox == nil {
		return m, nil
	}
	box, err := json.Marshal(r.outbox)
	if err != nil {
		return nil, fmt.Errorf("follow-ups: %w", err)
	}
	if len(box) > maxOutbox {
		return nil, fmt.Errorf("follow-ups of %d bytes: %w", len(box), engine.ErrLimit)
	}
	h[hdrOutbox] = []string{strconv.Itoa(len(box))}
	m.Data = append(append(make([]byte, 0, len(r.payload)+len(box)), r.payload...), box...)
	return m, nil
}

// readRecord reads what msgOf wrote, as the store or its republication hands
// it out.
func readRecord(m *nats.Msg) (*record, error) {
	num := func(k string) uint64 {
		if v := m.Header[k]; len(v) > 0 {
			n, err := strconv.ParseUint(v[0], 10, 64)
			if err == nil {
				return n
			}
		}
		return 0
	}
	text := func(k string) string {
		if v := m.Header[k]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	r := &record{
		seq: num(jetstream.SequenceHeader), subject: text(jetstream.SubjectHeader),
		kind: engine.Kind(text(hdrKind)), status: text(hdrStatus), attempt: int(num(hdrAttempt)),
		deliveries: int(num(hdrDeliveries)), n: num(hdrN), msg: num(hdrMsg), round: int(num(hdrRound)),
		fence: num(hdrFence), payload: m.Data,
	}
	if at := text(jetstream.TimeStampHeaer); at != "" {
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return nil, fmt.Errorf("record time: %w", err)
		}
		r.time = t
	}
	if n := int(num(hdrOutbox)); n > 0 {
		if n > len(r.payload) {
			return nil, errors.New("record is cut short")
		}
		box := r.payload[len(r.payload)-n:]
		r.payload = r.payload[:len(r.payload)-n]
		if err := json.Unmarshal(box, &r.outbox); err != nil {
			return nil, fmt.Errorf("follow-ups: %w", err)
		}
	}
	return r, nil
}

// last reads the last record of a subject, or nil.
func (e *Engine) last(ctx context.Context, stream, subject string) (*record, error) {
	m, err := e.lastMsg(ctx, stream, subject)
	if m == nil || err != nil {
		return nil, err
	}
	return readRecord(m)
}

func (e *Engine) lastMsg(ctx context.Context, stream, subject string) (*nats.Msg, error) {
	var m *nats.Msg
	err := e.again(ctx, func(ctx context.Context) (err error) {
		m, err = e.sub.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return m, nil
	case "404":
		return nil, nil
	default:
		return nil, fmt.Errorf("read %s: %s %s", subject, status, m.Header.Get("Description"))
	}
}

const (
	readTry  = time.Second      // how long one try of a read waits for its answer
	readWait = 10 * time.Second // and all of them
)

// again tries a read until it is answered: an answer may be lost with its
// connection, and a server that has just started is not ready at once.
func (e *Engine) again(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	for {
		if e.closed() {
			return engine.ErrClosed
		}
		try, stop := context.WithTimeout(ctx, readTry)
		err := read(try)
		stop()
		late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
		if !late && !errors.Is(err, nats.ErrNoResponders) &&
			!errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrConnectionClosed) {
			return e.wrong(err)
		}
		if !late {
			t := time.NewTimer(50 * time.Millisecond)
			select {
			case <-t.C:
			case <-ctx.Done():
			case <-e.done:
			}
			t.Stop()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// expect makes a write depend on the last record of a subject.
func expect(m *nats.Msg, seq uint64) {
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(seq, 10)}
}

// seconds writes a time to live: whole seconds, at least one.
func setTTL(m *nats.Msg, d time.Duration) {
	if d > 0 {
		m.Header[jetstream.MsgTTLHeader] = []string{strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)}
	}
}
