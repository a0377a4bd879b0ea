package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/stream"
)

// maxSources is how many streams and groups one connection may follow.
const maxSources = 64

// followMany serves several streams and groups as one event stream, with an id
// that says where the client is in each of them.
func (g *Gateway) followMany(w http.ResponseWriter, r *http.Request) {
	m := &many{g: g}
	err := m.read(r)
	if err == nil {
		err = m.locate(r)
	}
	var seat *seat
	if err == nil {
		seat, err = g.enter(r)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	defer seat.missed()
	if m.attach(r.Context()); m.left == 0 { // every stream has ended, and the client knows
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := m.join(r.Context()); err != nil {
		m.leave()
		g.fail(w, r, err)
		return
	}
	opts := g.streamOptions(r)
	c, err := sse.Upgrade(w, r, &opts)
	if err != nil { // it was answered
		m.leave()
		return
	}
	left := seat.taken(func(string) { c.Cancel() })
	m.begin(c)
	c.Stay(func(error) {
		left()
		m.leave()
	})
}

// many is a connection that follows several sources.
type many struct {
	g       *Gateway
	sources []source
	readers []*stream.Reader // by source; nil for a group, and for what has ended
	later   []int            // groups that are gone on with, by source
	ch      *channels.Channel
	work    sync.WaitGroup

	begun chan struct{} // closed when conn is set
	conn  *sse.Conn
	keep  *handle // nil while a vector fits an id

	mu      sync.Mutex
	at      vector // of what was sent
	left    int    // sources that have not ended
	waiting []entry
	bytes   int
	busy    bool
	idle    chan struct{} // closed when nothing waits; nil if nobody wants to know
}

// entry is what a source has to say.
type entry struct {
	source int
	at     engine.Position // empty for what is not kept
	event  string
	data   json.RawMessage
}

// read reads which sources a request asks for, and whether it may.
func (m *many) read(r *http.Request) error {
	q := r.URL.Query()
	for _, id := range q["task"] {
		if err := checkTaskID(id); err != nil {
			return err
		}
		if err := m.g.allow(callerOf(r), auth.ReadStream, id); err != nil {
			return err
		}
		m.sources = append(m.sources, source{task: id})
	}
	for _, name := range q["group"] {
		if err := m.g.checkGroup(name); err != nil {
			return err
		}
		if err := m.g.allow(callerOf(r), auth.ReadGroup, name); err != nil {
			return err
		}
		m.sources = append(m.sources, source{group: name})
	}
	if n := len(m.sources); n == 0 || n > maxSources {
		return problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("follow 1 to %d streams and groups, as in ?task=ID&group=NAME; these are %d", maxSources, n)}
	}
	seen := map[source]bool{}
	for _, s := range m.sources {
		if seen[s] {
			return problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("%q is there twice", s.name())}
		}
		seen[s] = true
	}
	return nil
}

// locate finds out where the client was.
func (m *many) locate(r *http.Request) error {
	id := sse.LastEventID(r)
	m.begun, m.left = make(chan struct{}), len(m.sources)
	var err error
	switch {
	case id == "":
		m.at = make(vector, len(m.sources))
	case strings.HasPrefix(id, handleMark):
		ctx, cancel := context.WithTimeout(r.Context(), joinWait)
		defer cancel()
		m.at, err = readHandle(ctx, m.g.app.Engines().Streams, id, m.sources)
	default:
		m.at, _ = readVector(id, m.sources) // what is none is as foreign as one that is kept no more
	}
	if m.at == nil {
		m.at = allLost(m.sources)
	}
	return err
}

// attachWait bounds the look at the client's positions.
const attachWait = 500 * time.Millisecond

// attach looks which streams have ended for the client.
func (m *many) attach(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	m.readers = make([]*stream.Reader, len(m.sources))
	for i, s := range m.sources {
		if s.group != "" {
			continue
		}
		at, err := m.g.app.Result(s.task).Stream().Attach(ctx, m.at[i])
		if err != nil {
			continue // it is looked for again later
		}
		if m.readers[i] = at; at.AtEnd() {
			m.left--
		}
	}
}

// join has the groups' events come, from where the client was. What a group
// does not keep comes from now on.
func (m *many) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	for i, s := range m.sources {
		if s.group == "" {
			continue
		}
		if m.ch == nil {
			var err error
			if m.ch, err = m.g.opts.Hub.Open(func(channels.Event) {}); err != nil {
				return err
			}
		}
		if m.at[i] != "" {
			m.later = append(m.later, i) // when there is a connection
			continue
		}
		from := channels.Replay{Last: -1}
		var err error
		if m.at[i], err = m.g.whereNew(ctx, s.group, &from); err != nil {
			return err
		}
		if err := m.ch.Resume(ctx, s.group, parts, groupSink{m, i}, from); err != nil {
			return err
		}
	}
	return nil
}

// begin starts what follows the sources.
func (m *many) begin(c *sse.Conn) {
	m.mu.Lock()
	m.conn = c
	first := vector(append(vector(nil), m.at...))
	m.mu.Unlock()
	if id := m.firstID(first); id != "" {
		m.push(sse.Event{ID: id}) // so that a client that hears nothing knows where it is
	}
	close(m.begun)
	for i, s := range m.sources {
		if r := m.readers[i]; s.task != "" && (r == nil || !r.AtEnd()) {
			m.work.Go(func() { m.followTask(c.Context(), i, first[i]) })
		}
	}
	for _, i := range m.later {
		m.work.Go(func() {
			s := m.sources[i]
			m.failed(s, m.ch.Resume(c.Context(), s.group, parts, groupSink{m, i}, channels.Replay{After: first[i]}))
		})
	}
}

// firstID says where the client is before anything comes. It is empty for
// nowhere.
func (m *many) firstID(at vector) string {
	id, fits := at.id(m.sources)
	if fits {
		if id == vectorMark {
			return ""
		}
		return id
	}
	err := m.kept(at, []step{{At: at[0]}})
	if err != nil {
		m.failed(m.sources[0], err)
		return ""
	}
	return m.keep.id(0)
}

// kept has a handle keep where each event of a batch is.
func (m *many) kept(before vector, steps []step) error {
	ctx := m.conn.Context()
	if m.keep == nil {
		var err error
		if m.keep, err = openHandle(ctx, m.g.app.Engines().Streams); err != nil {
			return err
		}
	}
	return m.keep.keep(ctx, before, steps)
}

func (m *many) failed(s source, err error) {
	if err != nil && m.conn.Context().Err() == nil {
		m.g.log.Warn("follow many", "source", s.name(), "err", err)
		m.conn.Cancel() // it comes back
	}
}

// leave ends it when its connection has gone, or never came.
func (m *many) leave() {
	if m.conn == nil {
		close(m.begun)
	}
	m.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait)
	defer cancel()
	if m.ch != nil {
		if err := m.ch.Close(ctx); err != nil {
			m.g.log.Warn("leave groups", "err", err)
		}
	}
	m.wait(ctx)
	if m.keep != nil {
		if err := m.keep.writer.End(ctx, nil); err != nil {
			m.g.log.Warn("end a cursor", "err", err)
		}
	}
}
