package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
)

// leaveWait bounds leaving a group whose listener has gone.
const leaveWait = 5 * time.Second

// lines are the events of a group as server-sent ones: the data is the event as
// JSON, its type included, since a type named error would be EventSource's own.
var lines = sseRelay()

func sseRelay() *channels.Relay {
	r := channels.NewRelay(func(e channels.Event) (channels.Message, error) {
		raw, err := e.JSON()
		if err == nil {
			raw, err = sse.AppendEvent(nil, sse.Event{ID: string(e.Position()), Data: string(raw)})
		}
		return channels.Message{Text: true, Data: raw}, err
	})
	r.Gap = channels.Message{Text: true, Data: []byte("event: gap\ndata: {}\n\n")}
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
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	leave := func() {}
	if err == nil {
		leave, err = g.connection(r, func(string) { cancel() })
	}
	var ch *channels.Channel
	if err == nil {
		defer leave()
		ch, err = g.opts.Hub.Open(func(channels.Event) {})
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	defer g.leave(r, name, ch)
	l := &listener{g: g, news: make(chan struct{}, 1)}
	none := from.After == "" && from.Last < 0
	if none { // it listens before it is told so
		if err := ch.Resume(ctx, name, lines, l, from); err != nil {
			g.fail(w, r, err)
			return
		}
	}
	opts := g.streamOptions(r)
	if l.conn, err = sse.Upgrade(w, r.WithContext(ctx), &opts); err != nil { // it was answered
		return
	}
	defer l.conn.Close()
	g.stats.Opened.Add(1)
	g.stats.Open.Add(1)
	defer g.stats.Open.Add(-1)
	var resuming sync.WaitGroup
	defer resuming.Wait()
	defer cancel()
	if !none {
		resuming.Go(func() {
			if err := ch.Resume(ctx, name, lines, l, from); err != nil && ctx.Err() == nil {
				g.log.Warn("follow a group", "group", name, "err", err)
				l.fail(err)
			}
		})
	}
	l.write()
}

func (g *Gateway) leave(r *http.Request, group string, ch *channels.Channel) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), leaveWait)
	defer cancel()
	if err := ch.Close(ctx); err != nil && !errors.Is(err, engine.ErrClosed) {
		g.log.Warn("leave a group", "group", group, "err", err)
	}
}

// listener is what waits for one connection that follows a group. Who sends
// does not wait for it.
type listener struct {
	g    *Gateway
	conn *sse.Conn
	news chan struct{}

	mu      sync.Mutex
	waiting []*channels.Shared
	bytes   int
	flushed []chan struct{} // closed when nothing waits
	err     error
}

// maxBehind bounds what waits for a client in bytes. One that falls behind more
// is closed, and comes back to what the group keeps.
const maxBehind = 1 << 20

// WriteShared implements channels.Sink.
func (l *listener) WriteShared(m *channels.Shared) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.bytes > maxBehind {
		l.err = sse.ErrSlow
	}
	if l.err != nil {
		l.wake()
		return l.err
	}
	l.waiting = append(l.waiting, m)
	l.bytes += len(m.Data)
	l.wake()
	return nil
}

func (l *listener) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// Flush waits until the client has taken all, for a long history.
func (l *listener) Flush(ctx context.Context) error {
	l.mu.Lock()
	if l.err != nil || len(l.waiting) == 0 {
		defer l.mu.Unlock()
		return l.err
	}
	done := make(chan struct{})
	l.flushed = append(l.flushed, done)
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.wake()
}

// write writes until the connection has ended.
func (l *listener) write() {
	for {
		select {
		case <-l.news:
		case <-l.conn.Context().Done():
			return
		}
		for {
			b, n, err := l.take()
			if errors.Is(err, sse.ErrSlow) {
				l.g.stats.Slow.Add(1)
			}
			if err != nil {
				return
			}
			if n == 0 {
				break
			}
			if _, err := l.conn.Write(b); err != nil {
				l.fail(err)
				continue
			}
			l.g.stats.Events.Add(uint64(n))
			l.g.stats.Bytes.Add(uint64(len(b)))
		}
	}
}

// maxWrite is about how much is joined for one write.
const maxWrite = 16 << 10

// take joins what waits, some of it, and says how many events that is.
func (l *listener) take() (b []byte, n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; n < len(l.waiting) && (n == 0 || len(b)+len(l.waiting[n].Data) <= maxWrite); n++ {
		b = append(b, l.waiting[n].Data...)
	}
	l.waiting = l.waiting[n:]
	l.bytes -= len(b)
	if len(l.waiting) == 0 {
		l.waiting = nil
		for _, done := range l.flushed {
			close(done)
		}
		l.flushed = nil
	}
	return b, n, l.err
}
