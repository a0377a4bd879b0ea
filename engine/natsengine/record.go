package natsengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rhubarb-go/rhubarb/engine"
)

// A task's control subject, rb.log.<pp>.<id>.c, holds its claims and states.
// The sequence of its last record is the task's fence.
const (
	// hdrRecord holds all facts of a record but its payload, in one line: kind,
	// attempt, deliveries, number within the attempt, the message's sequence in
	// RB_TASKS, its round, the fence it was written under, the length of the
	// outbox behind the payload and, to the end of the line, Celery's status.
	// One header, since each costs the server and both sides.
	hdrRecord = "Rb-Record"
	kindFree  = "free"  // the claim was given back; not shown to readers
	kindRetry = "retry" // the run asked for another; its state is under ….s
	maxOutbox = 900_000
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
	m := &nats.Msg{Subject: subject, Header: make(nats.Header, 4), Data: r.payload}
	box := 0
	if r.outbox != nil {
		raw, err := json.Marshal(r.outbox)
		if err != nil {
			return nil, fmt.Errorf("follow-ups: %w", err)
		}
		if box = len(raw); box > maxOutbox {
			return nil, fmt.Errorf("follow-ups of %d bytes: %w", box, engine.ErrLimit)
		}
		m.Data = slices.Concat(r.payload, raw)
	}
	line := make([]byte, 0, 128)
	line = append(line, r.kind...)
	for _, n := range [...]uint64{uint64(r.attempt), uint64(r.deliveries), r.n, r.msg, uint64(r.round), r.fence, uint64(box)} {
		line = strconv.AppendUint(append(line, ' '), n, 10)
	}
	line = append(append(line, ' '), r.status...)
	m.Header[hdrRecord] = []string{string(line)}
	return m, nil
}

// facts reads the line of a record, and the length of its outbox.
func (r *record) facts(line string) (box int, err error) {
	kind, line, _ := strings.Cut(line, " ")
	var nums [7]uint64
	for i := range nums {
		var n string
		n, line, _ = strings.Cut(line, " ")
		if nums[i], err = strconv.ParseUint(n, 10, 63); err != nil {
			return 0, fmt.Errorf("fact %d of a record: %w", i+1, err)
		}
	}
	r.kind, r.status = engine.Kind(kind), line
	r.attempt, r.deliveries, r.n = int(nums[0]), int(nums[1]), nums[2]
	r.msg, r.round, r.fence = nums[3], int(nums[4]), nums[5]
	return int(nums[6]), nil
}

// readRecord reads what msgOf wrote, as the store or its republication hands
// it out. Other messages, of RB_LATER say, have no facts.
func readRecord(m *nats.Msg) (*record, error) {
	text := func(k string) string {
		if v := m.Header[k]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	r := &record{subject: text(jetstream.SubjectHeader), payload: m.Data}
	if seq := text(jetstream.SequenceHeader); seq != "" {
		var err error
		if r.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
			return nil, fmt.Errorf("record sequence: %w", err)
		}
	}
	if at := text(jetstream.TimeStampHeaer); at != "" {
		var err error
		if r.time, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, fmt.Errorf("record time: %w", err)
		}
	}
	line := text(hdrRecord)
	if line == "" {
		return r, nil
	}
	box, err := r.facts(line)
	switch {
	case err != nil:
		return nil, err
	case box > len(r.payload):
		return nil, errors.New("record is cut short")
	case box > 0:
		raw := r.payload[len(r.payload)-box:]
		r.payload = r.payload[:len(r.payload)-box]
		if err := json.Unmarshal(raw, &r.outbox); err != nil {
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
