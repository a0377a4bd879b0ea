package natsengine

import (
	"bytes"
	"cmp"
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

// Headers of our messages. A task message is carried as AMQP would carry it:
// its headers and properties beside its body.
const (
	hdrID         = "Rb-Id"
	hdrTask       = "Rb-Task"
	hdrType       = "Content-Type"
	hdrEncoding   = "Content-Encoding"
	hdrHeaders    = "Rb-Headers"
	hdrProperties = "Rb-Properties"
	hdrRound      = "Rb-Round"
	hdrQueue      = "Rb-Queue"
)

// ackWait bounds the wait for one acknowledgement.
const ackWait = 5 * time.Second

// write is a publish under way, or refused.
type write struct {
	msg    *nats.Msg
	no     uint64
	answer chan *nats.Msg // nil: it is not under way
	seq    uint64
	dup    bool
	err    error
}

// begin publishes without waiting.
func (e *Engine) begin(ctx context.Context, m *nats.Msg) *write {
	select {
	case e.window <- struct{}{}:
	case <-ctx.Done():
		return &write{err: ctx.Err()}
	case <-e.done:
		return &write{err: engine.ErrClosed}
	}
	w := &write{msg: m}
	if w.no, w.answer, w.err = e.pubs.send(m); w.err != nil {
		<-e.window
		w.err = e.wrong(w.err)
	}
	return w
}

// end waits for the acknowledgement.
func (e *Engine) end(w *write) error {
	if w.answer == nil {
		return w.err
	}
	select {
	case m := <-w.answer: // most are there by now
		e.answered(w, m)
	default:
		e.await(w)
	}
	if errors.Is(w.err, nats.ErrNoResponders) {
		e.resend(w)
	}
	<-e.window
	w.err = e.wrong(w.err)
	return w.err
}

func (e *Engine) answered(w *write, m *nats.Msg) {
	w.seq, w.dup, w.err = readAck(m)
	e.pubs.done(w.answer)
	w.answer = nil
}

func (e *Engine) await(w *write) {
	late := time.NewTimer(ackWait)
	defer late.Stop()
	select {
	case m := <-w.answer:
		e.answered(w, m)
		return
	case <-late.C:
		w.err = fmt.Errorf("no acknowledgement within %v", ackWait)
	case <-e.done:
		w.err = engine.ErrClosed
	}
	e.pubs.forget(w.no, w.answer)
	w.answer = nil
}

// resend sends again what no stream was there to take: a server that has just
// started is not ready at once.
func (e *Engine) resend(w *write) {
	for until := time.Now().Add(ackWait); errors.Is(w.err, nats.ErrNoResponders) && time.Now().Before(until); {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-e.done:
			w.err = engine.ErrClosed
			return
		}
		if w.no, w.answer, w.err = e.pubs.send(w.msg); w.err == nil {
			e.await(w)
		}
	}
}

// publish publishes one message and waits.
func (e *Engine) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	w := e.begin(ctx, m)
	err := e.end(w)
	return w.seq, err
}

// Publish implements engine.Broker.
func (e *Engine) Publish(ctx context.Context, pubs []engine.Publication) []engine.Receipt {
	out := make([]engine.Receipt, len(pubs))
	ws := make([]*write, len(pubs))
	var full error
	if e.opts.Admit != nil && len(pubs) > 0 {
		full = e.opts.Admit()
	}
	for i := range pubs {
		p := &pubs[i]
		out[i].ID = p.ID
		if out[i].Err = cmp.Or(checkPublication(p), full); out[i].Err != nil {
			continue
		}
		if p.Key != "" {
			out[i] = e.publishKeyed(ctx, p)
			continue
		}
		ws[i] = e.begin(ctx, e.taskMsg(p))
	}
	for i, w := range ws {
		if w != nil {
			out[i].Err = e.end(w)
		}
	}
	return out
}

func checkPublication(p *engine.Publication) error {
	if err := p.Check(); err != nil {
		return err
	}
	return engine.CheckSize("idempotency key", len(p.Key), engine.MaxID)
}

// taskMsg writes a publication for its queue or, if it is to wait, as a
// schedule that the server delivers there.
func (e *Engine) taskMsg(p *engine.Publication) *nats.Msg {
	m := &nats.Msg{Subject: queueSubject(p.Queue, p.Priority), Data: p.Body, Header: messageHeader(&p.Message, p.Round)}
	m.Header[jetstream.MsgIDHeader] = []string{token(p.ID) + ":" + strconv.Itoa(p.Round)}
	if ahead := time.Until(p.At); ahead > 0 {
		m.Header[jetstream.ScheduleHeader] = []string{"@at " + p.At.UTC().Format(time.RFC3339Nano)}
		m.Header[jetstream.ScheduleTargetHeader] = []string{m.Subject}
		// The same subject would replace the schedule of another round.
		m.Subject = subjectETA + token(p.Queue) + "." + token(p.ID) + "." + strconv.Itoa(p.Round)
		if ahead > e.far.ahead {
			e.far.postpone(m, p)
		}
	}
	return m
}

func messageHeader(m *engine.Message, round int) nats.Header {
	h := nats.Header{
		hdrID:   {oneLine(m.ID)},
		hdrTask: {oneLine(m.Task)},
	}
	set := func(k, v string) {
		if v != "" {
			h[k] = []string{v}
		}
	}
	set(hdrType, oneLine(m.ContentType))
	set(hdrEncoding, oneLine(m.ContentEncoding))
	set(hdrHeaders, compact(m.Headers))
	set(hdrProperties, compact(m.Properties))
	if round != 0 {
		h[hdrRound] = []string{strconv.Itoa(round)}
	}
	return h
}

// oneLine keeps a name that fits a header line, and quotes any other.
func oneLine(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || (i == 0 || i == len(s)-1) && (c == ' ' || c == '"') {
			return strconv.Quote(s)
		}
	}
	return s
}

func fromOneLine(s string) string {
	if len(s) > 1 && s[0] == '"' {
		if plain, err := strconv.Unquote(s); err == nil {
			return plain
		}
	}
	return s
}

// compact puts JSON on one line. What is no JSON is quoted, to be refused by
// whoever reads it.
func compact(raw []byte) string {
	if bytes.ContainsAny(raw, "\r\n") {
		var b bytes.Buffer
		if json.Compact(&b, raw) != nil {
			return strconv.Quote(string(raw))
		}
		return b.String()
	}
	return string(raw)
}

// readMessage reads what taskMsg wrote.
func readMessage(h nats.Header, body []byte) (m engine.Message, round int) {
	get := func(k string) string {
		if v := h[k]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	m = engine.Message{
		ID: fromOneLine(get(hdrID)), Task: fromOneLine(get(hdrTask)),
		ContentType: fromOneLine(get(hdrType)), ContentEncoding: fromOneLine(get(hdrEncoding)),
		Headers: []byte(get(hdrHeaders)), Properties: []byte(get(hdrProperties)), Body: body,
	}
	round, err := strconv.Atoi(get(hdrRound))
	if err != nil {
		round = 0
	}
	return m, round
}
