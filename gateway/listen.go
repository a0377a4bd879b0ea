package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
)

// leaveWait bounds leaving a group whose listener has gone.
const leaveWait = 5 * time.Second

// lines are the events of a group as frames of server-sent ones: the data is the
// event as JSON, its type included, since a type named error would be
// EventSource's own.
var lines = sseRelay()

func sseRelay() *channels.Relay {
	r := channels.NewRelay(func(e channels.Event) (channels.Message, error) {
		raw, err := e.JSON()
		if err != nil {
			return channels.Message{}, err
		}
		f, err := sse.NewFrame(sse.Event{ID: string(e.Position()), Data: string(raw)})
		return channels.Message{Data: f}, err
	})
	gap, err := sse.NewFrame(sse.Event{Type: "gap", Data: "{}"})
	if err != nil {
		panic(err) // it is constant
	}
	r.Gap = channels.Message{Data: gap}
	return r
}

// listen follows a group as server-sent events: what its history has after the
// client's position, or the newest ?last= of it, then what is new.
func (g *Gateway) listen(w http.ResponseWriter, r *http.Request) {
	name, err := g.group(r)
	var from channels.Replay
	if err == nil {
		from, err = replayOf(r)
	}
	var p *seat
	if err == nil {
		p, err = g.enter(r)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	defer p.missed()
	ch, err := g.opts.Hub.Open(func(channels.Event) {})
	if err != nil {
		g.fail(w, r, err)
		return
	}
	l := &listener{g: g, group: name, ch: ch}
	first, err := l.join(r.Context(), from)
	if err != nil {
		l.leave()
		g.fail(w, r, err)
		return
	}
	opts := g.streamOptions(r)
	c, err := sse.Upgrade(w, r, &opts)
	if err != nil { // it was answered
		l.leave()
		return
	}
	left := p.taken(func(string) { c.Cancel() })
	l.begin(c, first)
	c.Stay(func(error) {
		left()
		l.leave()
	})
}

// join has a newcomer listen before they are told so, and returns where they
// are. Others are told what they missed when there is a connection.
func (l *listener) join(ctx context.Context, from channels.Replay) (first engine.Position, err error) {
	if from.After != "" || from.Last > 0 {
		l.from = &from
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	if first, err = l.g.whereNew(ctx, l.group, &from); err != nil {
		return "", err
	}
	return first, l.ch.Resume(ctx, l.group, lines, l, from)
}

// whereNew has a newcomer to a group with a history, who wants nothing old, go
// on from its newest event, of which they are told: then they know where they
// were even if they hear nothing.
func (g *Gateway) whereNew(ctx context.Context, group string, from *channels.Replay) (engine.Position, error) {
	if from.After != "" || from.Last > 0 || !g.keeps(group) {
		return "", nil
	}
	pos, err := g.opts.Hub.Newest(ctx, group)
	from.After = pos
	return pos, err
}

// listener is a connection that follows a group. Who sends does not wait for
// it.
type listener struct {
	g     *Gateway
	group string
	ch    *channels.Channel
	from  *channels.Replay // nil if it follows already
	conn  atomic.Pointer[sse.Conn]

	resuming sync.WaitGroup

	mu    sync.Mutex
	early []sse.Frame // what came before there was a connection
	lost  bool        // there was more of that
}

// maxEarly bounds what comes before there is a connection, in events.
const maxEarly = 1000

// begin has what was sent so far written, and what the client missed.
func (l *listener) begin(c *sse.Conn, first engine.Position) {
	if f, err := sse.NewFrame(sse.Event{ID: string(first)}); err == nil && first != "" {
		_ = c.Push(f) // it ends by itself
	}
	l.mu.Lock()
	for _, f := range l.early {
		_ = c.Push(f) // it ends by itself
	}
	if l.lost {
		c.Cancel() // it comes back
	}
	l.early = nil
	l.conn.Store(c)
	l.mu.Unlock()
	if l.from == nil {
		return
	}
	l.resuming.Go(func() {
		if err := l.ch.Resume(c.Context(), l.group, lines, l, *l.from); err != nil && c.Context().Err() == nil {
			l.g.log.Warn("follow a group", "group", l.group, "err", err)
			c.Cancel() // it comes back
		}
	})
}

// WriteShared implements channels.Sink.
func (l *listener) WriteShared(messages ...*channels.Shared) error {
	var room [16]sse.Frame // so that few need no memory
	frames := room[:0]
	for _, m := range messages {
		frames = append(frames, m.Data)
	}
	if c := l.conn.Load(); c != nil {
		return c.Push(frames...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conn.Load(); c != nil {
		return c.Push(frames...)
	}
	if len(l.early)+len(frames) > maxEarly {
		l.lost = true
		return sse.ErrSlow
	}
	l.early = append(l.early, frames...)
	return nil
}

// Flush waits until the client has taken all, for a long history.
func (l *listener) Flush(ctx context.Context) error {
	if c := l.conn.Load(); c != nil {
		return c.Flush(ctx)
	}
	return nil
}

// leave ends it when its connection has gone, or never came.
func (l *listener) leave() {
	l.resuming.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait)
	defer cancel()
	if err := l.ch.Close(ctx); err != nil && !errors.Is(err, engine.ErrClosed) {
		l.g.log.Warn("leave a group", "group", l.group, "err", err)
	}
}
