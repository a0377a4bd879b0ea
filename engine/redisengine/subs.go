package redisengine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
)

// subscriptions are what one process listens to, on one connection that is
// made anew when it breaks. One goroutine tells Redis what has changed, so
// that the subscribing and unsubscribing of a channel never overtake each
// other, and much that changes at once goes in one pipeline.
type subscriptions struct {
	e *Engine

	mu      sync.Mutex
	feeds   map[feedName]*feed
	changed map[feedName]struct{} // since the last round
	running bool
	closed  bool

	wake chan struct{} // has room for one
	told sync.Mutex    // held while listeners are called, so that they are called one by one
}

// feedName is a channel or, for PSUBSCRIBE, a pattern.
type feedName struct {
	channel string
	pattern bool
}

type feed struct {
	listeners []*listener   // replaced, never changed
	sent      bool          // to Redis, on this connection
	again     bool          // there was another connection before
	ready     chan struct{} // closed when Redis has answered on this one
	err       error         // what it answered last
}

type listener struct {
	hear func(payload []byte, again bool)
}

// Between attempts to connect.
const (
	minRetryWait = 10 * time.Millisecond
	maxRetryWait = time.Second
)

func newSubscriptions(e *Engine) *subscriptions {
	return &subscriptions{
		e: e, feeds: map[feedName]*feed{}, changed: map[feedName]struct{}{}, wake: make(chan struct{}, 1),
	}
}

// listen calls hear with each message on a channel, or on all that match a
// pattern, from the moment it returns until cancel is called; one more call may
// be under way then. Payloads are shared and must not be changed. Calls come
// one at a time, of all listeners, and must not block. A call with again says
// that the connection was lost and is back, and so messages may have been
// missed. While Redis is away listen waits, as long as ctx lets it.
func (s *subscriptions) listen(ctx context.Context, channel string, pattern bool, hear func(payload []byte, again bool)) (cancel func(), err error) {
	name, l := feedName{channel, pattern}, &listener{hear}
	f, ready, err := s.add(name, l)
	if err != nil {
		return nil, err
	}
	cancel = func() { s.remove(name, l) }
	select {
	case <-ready:
		s.mu.Lock()
		err = f.err
		s.mu.Unlock()
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.e.done:
		err = engine.ErrClosed
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return cancel, nil
}

func (s *subscriptions) add(name feedName, l *listener) (f *feed, ready <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, engine.ErrClosed
	}
	if f = s.feeds[name]; f == nil {
		f = &feed{ready: make(chan struct{})}
		s.feeds[name] = f
		s.changeLocked(name)
	}
	f.listeners = append(f.listeners[:len(f.listeners):len(f.listeners)], l)
	if !s.running {
		s.running = true
		s.e.loops.Go(s.run)
	}
	return f, f.ready, nil
}

func (s *subscriptions) remove(name feedName, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[name]
	if f == nil {
		return
	}
	var rest []*listener
	for _, other := range f.listeners {
		if other != l {
			rest = append(rest, other)
		}
	}
	if f.listeners = rest; len(rest) == 0 {
		s.changeLocked(name)
	}
}

func (s *subscriptions) changeLocked(name feedName) {
	s.changed[name] = struct{}{}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close lets no more listeners in. The connection ends with the engine.
func (s *subscriptions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// run keeps a connection until the engine is closed.
func (s *subscriptions) run() {
	ctx, cancel := context.WithCancel(context.Background()) // ends with the engine
	defer cancel()
	s.e.loops.Go(func() {
		<-s.e.done
		cancel()
	})
	wait := minRetryWait
	for ctx.Err() == nil {
		began := time.Now()
		err := s.serve(ctx)
		if time.Since(began) > maxRetryWait { // it was connected
			wait = minRetryWait
		}
		if wait == minRetryWait && ctx.Err() == nil {
			s.e.log.Warn("redis: connection lost, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxRetryWait)
	}
}

// serve makes a connection and uses it until it breaks.
func (s *subscriptions) serve(ctx context.Context) error {
	conn, release := s.e.anyNode().Dedicate()
	defer release()
	defer conn.Close()
	defer s.lost()
	broken := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: s.message})
	for {
		if err := s.tell(ctx, conn); err != nil {
			return err
		}
		select {
		case err := <-broken:
			return err
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

// anyNode is the client, or one node of a cluster: what is published to one is
// passed on to all.
func (e *Engine) anyNode() rueidis.Client {
	if e.client.Mode() == rueidis.ClientModeCluster {
		for _, node := range e.client.Nodes() {
			return node
		}
	}
	return e.client
}

// lost takes back what was told to a connection.
func (s *subscriptions) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range s.feeds {
		select {
		case <-f.ready:
			f.again, f.ready = true, make(chan struct{})
		default:
		}
		f.sent = false
		s.changed[name] = struct{}{}
	}
}

// tell sends what has changed and hands on the answers. Its error is that of
// the connection.
func (s *subscriptions) tell(ctx context.Context, conn rueidis.DedicatedClient) error {
	names, cmds := s.take(conn.B())
	if len(cmds) == 0 {
		return nil
	}
	for i, r := range conn.DoMulti(ctx, cmds...) {
		err := r.Error()
		if _, said := rueidis.IsRedisErr(err); err != nil && !said {
			return err
		}
		s.answered(names[i], err)
	}
	return nil
}

// take makes commands of what has changed.
func (s *subscriptions) take(b rueidis.Builder) (names []feedName, cmds []rueidis.Completed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.changed {
		f := s.feeds[name]
		switch {
		case f == nil:
			continue
		case len(f.listeners) == 0:
			delete(s.feeds, name)
			if !f.sent {
				continue
			}
			cmds = append(cmds, unsubscribe(b, name))
		case !f.sent:
			f.sent = true
			cmds = append(cmds, subscribe(b, name))
		default:
			continue
		}
		names = append(names, name)
	}
	clear(s.changed)
	return names, cmds
}

func subscribe(b rueidis.Builder, name feedName) rueidis.Completed {
	if name.pattern {
		return b.Psubscribe().Pattern(name.channel).Build()
	}
	return b.Subscribe().Channel(name.channel).Build()
}

func unsubscribe(b rueidis.Builder, name feedName) rueidis.Completed {
	if name.pattern {
		return b.Punsubscribe().Pattern(name.channel).Build()
	}
	return b.Unsubscribe().Channel(name.channel).Build()
}

// answered lets go who waits for a feed. One that Redis refuses is forgotten;
// the next who asks for it tries again.
func (s *subscriptions) answered(name feedName, err error) {
	s.mu.Lock()
	f := s.feeds[name]
	if f == nil || !f.sent {
		s.mu.Unlock()
		return
	}
	if err != nil {
		delete(s.feeds, name)
		err = fmt.Errorf("subscribe to %s: %w", name.channel, err)
	}
	listeners, again := f.listeners, f.again
	f.again, f.err = false, err
	close(f.ready)
	s.mu.Unlock()
	if err != nil && again {
		s.e.log.Error("redis: a channel is not heard any more", "channel", name.channel, "err", err)
	}
	if err == nil && again {
		s.call(listeners, nil, true)
	}
}

func (s *subscriptions) message(m rueidis.PubSubMessage) {
	name := feedName{m.Channel, false}
	if m.Pattern != "" {
		name = feedName{m.Pattern, true}
	}
	s.mu.Lock()
	var listeners []*listener
	if f := s.feeds[name]; f != nil {
		listeners = f.listeners
	}
	s.mu.Unlock()
	s.call(listeners, []byte(m.Message), false)
}

func (s *subscriptions) call(listeners []*listener, payload []byte, again bool) {
	s.told.Lock()
	defer s.told.Unlock()
	for _, l := range listeners {
		l.hear(payload, again)
	}
}
