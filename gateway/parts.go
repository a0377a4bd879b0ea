package gateway

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
)

// parts are the events of a group for connections that follow other sources
// too: the position, a line feed and the event as JSON.
var parts = partRelay()

func partRelay() *channels.Relay {
	r := channels.NewRelay(func(e channels.Event) (channels.Message, error) {
		raw, err := e.JSON()
		return channels.Message{Data: append([]byte(e.Position()+"\n"), raw...)}, err
	})
	r.Gap = channels.Message{Data: []byte("\n")}
	return r
}

// groupSink is the sink of one group.
type groupSink struct {
	m      *many
	source int
}

// WriteShared implements channels.Sink.
func (p groupSink) WriteShared(messages ...*channels.Shared) error {
	for _, s := range messages {
		at, data, _ := bytes.Cut(s.Data, []byte("\n"))
		e := entry{source: p.source, at: engine.Position(at), data: data}
		if len(data) == 0 {
			e.event = string(engine.KindGap)
		}
		if err := p.m.add(e); err != nil {
			return err
		}
	}
	return nil
}

// Flush waits until the client has taken all, for a long history.
func (p groupSink) Flush(ctx context.Context) error {
	select {
	case <-p.m.begun:
		p.m.wait(ctx)
		return p.m.conn.Flush(ctx)
	default: // nothing is written before there is a connection
		return nil
	}
}

// followTask sends a task's stream until its end.
func (m *many) followTask(ctx context.Context, i int, after engine.Position) {
	s := m.sources[i]
	reader, err := m.readers[i], error(nil)
	if reader == nil {
		reader, err = m.g.app.Result(s.task).Stream().Attach(ctx, after)
	}
	if err != nil {
		m.failed(s, err)
		return
	}
	flight := 0
	for recs, err := range reader.Batches(ctx) {
		for _, r := range recs {
			e := entry{source: i, at: r.Pos, event: string(r.Kind)}
			if r.Kind == engine.KindData {
				e.event = ""
			}
			if e.data, err = dataOf(r); err != nil {
				break
			}
			if err = m.add(e); err != nil {
				return // the connection has ended
			}
			if flight += len(e.data); flight > maxFlight {
				m.wait(ctx)
				flight, err = 0, m.conn.Flush(ctx)
			}
		}
		if err != nil {
			m.failed(s, err)
			return
		}
	}
}

// dataOf is a record's payload as JSON.
func dataOf(r engine.Record) (json.RawMessage, error) {
	data := json.RawMessage(sse.EventOf(r).Data)
	if json.Valid(data) {
		return data, nil
	}
	return json.Marshal(string(data))
}

// add queues an entry and does not wait. Who has much to say calls wait.
func (m *many) add(e entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes > maxBehind {
		if m.conn != nil {
			m.conn.Cancel()
		}
		return sse.ErrSlow
	}
	m.waiting = append(m.waiting, e)
	m.bytes += len(e.data)
	if !m.busy {
		m.busy = true
		go m.send()
	}
	return nil
}

// maxBehind bounds what waits for a client in bytes.
const maxBehind = 1 << 20

// wait waits until nothing waits.
func (m *many) wait(ctx context.Context) {
	m.mu.Lock()
	if !m.busy {
		m.mu.Unlock()
		return
	}
	if m.idle == nil {
		m.idle = make(chan struct{})
	}
	idle := m.idle
	m.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// maxBatch bounds what a handle keeps at once, in events.
const maxBatch = 256

// send sends what waits, until nothing does.
func (m *many) send() {
	for {
		m.mu.Lock()
		some := m.waiting[:min(len(m.waiting), maxBatch)]
		if len(some) == 0 {
			m.busy, m.waiting = false, nil
			if m.idle != nil {
				close(m.idle)
				m.idle = nil
			}
			m.mu.Unlock()
			return
		}
		m.waiting = m.waiting[len(some):]
		m.mu.Unlock()
		m.sendSome(some)
	}
}

func (m *many) sendSome(some []entry) {
	if <-m.begun; m.conn == nil {
		return // nobody listens
	}
	ids, err := m.ids(some)
	if err != nil {
		m.failed(m.sources[some[0].source], err)
	}
	size, ended := 0, 0
	for i, e := range some {
		size += len(e.data)
		if err == nil {
			m.push(m.event(ids[i], e))
		}
		if e.event == string(engine.KindEnd) && m.sources[e.source].task != "" {
			ended++
		}
	}
	m.mu.Lock()
	m.bytes -= size
	m.left -= ended
	over := m.left == 0
	m.mu.Unlock()
	if over && err == nil {
		m.push(sse.Event{Type: string(engine.KindEnd), Data: "{}"})
		_ = m.conn.Flush(m.conn.Context()) // it may have gone
		m.conn.Cancel()
	}
}

// ids says for each event where the client is after it. Only send calls it.
func (m *many) ids(some []entry) ([]string, error) {
	before := append(vector(nil), m.at...)
	ids, fit := make([]string, len(some)), m.keep == nil
	steps := make([]step, len(some))
	for i, e := range some {
		if e.at != "" {
			m.at[e.source] = e.at
		}
		steps[i] = step{e.source, m.at[e.source]}
		if fit {
			ids[i], fit = m.at.id(m.sources)
		}
	}
	if fit {
		return ids, nil
	}
	if err := m.kept(before, steps); err != nil {
		return nil, err
	}
	for i := range ids {
		ids[i] = m.keep.id(i)
	}
	return ids, nil
}

// event is what a client gets: {"task" or "group": …, "event": …, "data": …}.
func (m *many) event(id string, e entry) sse.Event {
	s := m.sources[e.source]
	raw, err := json.Marshal(struct {
		Task  string          `json:"task,omitempty"`
		Group string          `json:"group,omitempty"`
		Event string          `json:"event,omitempty"`
		Data  json.RawMessage `json:"data,omitempty"`
	}{s.task, s.group, e.event, e.data})
	if err != nil {
		m.failed(s, err) // it was JSON before
	}
	return sse.Event{ID: id, Data: string(raw)}
}

func (m *many) push(e sse.Event) {
	f, err := sse.NewFrame(e)
	if err == nil {
		err = m.conn.Push(f)
	}
	if err != nil && m.conn.Context().Err() == nil {
		m.g.log.Warn("send an event", "err", err)
		m.conn.Cancel()
	}
}
