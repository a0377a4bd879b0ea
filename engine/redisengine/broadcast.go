package redisengine

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// What a listener may be behind before it loses messages.
const (
	maxLag      = 1024
	maxLagBytes = 16 << 20
)

// Broadcast implements engine.Broker. Properties go along here.
func (e *Engine) Broadcast(ctx context.Context, to engine.Topic, m engine.Message) error {
	if e.closed() {
		return engine.ErrClosed
	}
	if err := to.CheckSend(); err != nil {
		return err
	}
	if err := engine.CheckSize("broadcast message", len(m.Headers)+len(m.Body), engine.MaxMessage); err != nil {
		return err
	}
	text := rueidis.BinaryString(celery.AppendBroadcast(nil, m, to.Exchange, to.Key))
	if to.Direct {
		return e.wrong(e.reply(ctx, to, text))
	}
	return e.wrong(e.client.Do(ctx, e.client.B().Publish().Channel(e.fanout(to.Exchange, to.Key)).Message(text).Build()).Error())
}

// Listen implements engine.Broker.
func (e *Engine) Listen(ctx context.Context, to engine.Topic) (iter.Seq[engine.Message], error) {
	if e.closed() {
		return nil, engine.ErrClosed
	}
	if err := to.CheckListen(); err != nil {
		return nil, err
	}
	if to.Direct {
		return e.openMailbox(ctx, to)
	}
	l := &lag{texts: make(chan []byte, maxLag)}
	hear := func(payload []byte, again bool) {
		if !again && !l.add(payload) {
			e.missed.Add(1)
		}
	}
	var cancels []func()
	cancel := func() {
		for _, c := range cancels {
			c()
		}
	}
	for _, name := range e.fanoutFeeds(to) {
		c, err := e.subs.listen(ctx, name.channel, name.pattern, hear)
		if err != nil {
			cancel()
			return nil, e.wrongCtx(ctx, err)
		}
		cancels = append(cancels, c)
	}
	release := context.AfterFunc(ctx, cancel)
	return func(yield func(engine.Message) bool) {
		defer cancel()
		defer release()
		for {
			select {
			case text := <-l.texts:
				l.bytes.Add(-int64(len(text)))
				m, ok := e.broadcastOf(to, text)
				if ctx.Err() != nil || ok && !yield(m) {
					return
				}
			case <-ctx.Done():
				return
			case <-e.done:
				return
			}
		}
	}, nil
}

// wrongCtx is wrong, but for the end of the caller's context.
func (e *Engine) wrongCtx(ctx context.Context, err error) error {
	if ctx.Err() != nil && !e.closed() {
		return ctx.Err()
	}
	if errors.Is(err, engine.ErrClosed) {
		return err
	}
	return e.wrong(err)
}

// lag is what a listener has not read yet.
type lag struct {
	texts chan []byte
	bytes atomic.Int64
}

// add reports whether there was room.
func (l *lag) add(text []byte) bool {
	if l.bytes.Add(int64(len(text))) <= maxLagBytes {
		select {
		case l.texts <- text:
			return true
		default:
		}
	}
	l.bytes.Add(-int64(len(text)))
	return false
}

// broadcastOf reads an envelope. One that nobody can read is counted among the
// missed.
func (e *Engine) broadcastOf(to engine.Topic, text []byte) (engine.Message, bool) {
	m, _, _, err := celery.ParseEnvelope(text)
	if err != nil {
		if e.missed.Add(1) == 1 {
			e.log.Warn("redis: a broadcast message cannot be read", "exchange", to.Exchange, "err", err)
		}
		return engine.Message{}, false
	}
	return engine.Message{ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: m.Headers, Body: m.Body}, true
}

// Missed counts broadcast messages that slow listeners of this process lost,
// and those that could not be read.
func (e *Engine) Missed() uint64 { return e.missed.Load() }

// fanout is the channel of an exchange and key. kombu/transport/redis.py
// _get_publish_topic, with its defaults for fanout_prefix and fanout_patterns.
func (e *Engine) fanout(exchange, key string) string {
	channel := e.opts.Prefix + "/" + strconv.Itoa(e.opts.DB) + "." + exchange
	if key != "" {
		channel += "/" + key
	}
	return channel
}

// fanoutFeeds are the channels of a topic that one listens to. kombu makes * of
// the # and misses what is sent without a key; that has a channel of its own.
func (e *Engine) fanoutFeeds(to engine.Topic) []feedName {
	prefix, all := strings.CutSuffix(to.Key, "#")
	if !all {
		return []feedName{{e.fanout(to.Exchange, to.Key), false}}
	}
	feeds := []feedName{{globEscape.Replace(e.fanout(to.Exchange, "")) + "/" + prefix + "*", true}}
	if prefix == "" {
		feeds = append(feeds, feedName{e.fanout(to.Exchange, ""), false})
	}
	return feeds
}

// globEscape hides what a prefix may have of Redis' patterns. Names of topics
// have none.
var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// A mailbox is a list that its owner binds to the exchange by his key. Bindings
// and lists of owners that died go by themselves.
const (
	mailboxKept    = time.Minute // a list, from the last message on
	mailboxRefresh = 10 * time.Second
	bindingKept    = time.Hour // kombu/transport/redis.py MIN_BINDING_TTL
)

// reply puts a message into each queue that is bound with just this key.
// kombu/transport/virtual/exchange.py DirectExchange.deliver.
func (e *Engine) reply(ctx context.Context, to engine.Topic, text string) error {
	members, err := e.client.Do(ctx, e.client.B().Smembers().Key(e.opts.Prefix+bindingPrefix+to.Exchange).Build()).AsStrSlice()
	if err != nil {
		return err
	}
	var cmds []rueidis.Completed
	for _, member := range members {
		parts := strings.Split(member, sep)
		if len(parts) != 3 || parts[0] != to.Key {
			continue
		}
		key := e.list(parts[2], 0)
		cmds = append(cmds, e.client.B().Lpush().Key(key).Element(text).Build())
		if parts[2] == mailboxQueue(to) { // and no queue of tasks
			cmds = append(cmds, e.client.B().Pexpire().Key(key).Milliseconds(mailboxKept.Milliseconds()).Build())
		}
	}
	for _, res := range e.client.DoMulti(ctx, cmds...) {
		if err := res.Error(); err != nil {
			return err
		}
	}
	return nil
}

// mailboxQueue: kombu/pidbox.py get_reply_queue.
func mailboxQueue(t engine.Topic) string { return t.Key + "." + t.Exchange }

// mailbox is one that is read.
type mailbox struct {
	e      *Engine
	topic  engine.Topic
	table  string // key of the bindings
	member string // of them
	lists  []string
}

func (e *Engine) openMailbox(ctx context.Context, to engine.Topic) (iter.Seq[engine.Message], error) {
	queue := mailboxQueue(to)
	b := &mailbox{e: e, topic: to, table: e.opts.Prefix + bindingPrefix + to.Exchange, member: to.Key + sep + sep + queue}
	for step := range engine.PrioritySteps {
		b.lists = append(b.lists, e.list(queue, step))
	}
	// A BRPOP of another run may have left what is not for this one.
	c := e.client
	if err := c.Do(ctx, c.B().Del().Key(b.lists...).Build()).Error(); err != nil {
		return nil, e.wrongCtx(ctx, err)
	}
	if err := b.bind(ctx); err != nil {
		return nil, e.wrongCtx(ctx, err)
	}
	read, cancel := e.whileOpen(ctx)
	closed := make(chan struct{})
	context.AfterFunc(read, func() {
		defer close(closed)
		b.unbind()
	})
	return func(yield func(engine.Message) bool) {
		defer func() {
			cancel()
			<-closed
		}()
		b.read(read, yield)
	}, nil
}

// whileOpen is a context that ends with the engine, too. It has no deadline:
// given one, rueidis does not see that a context of a blocking command ends
// before.
func (e *Engine) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { // ends with any of them
		defer cancel()
		select {
		case <-e.done:
		case <-ctx.Done():
		case <-open.Done():
		}
	}()
	return open, cancel
}

// bind says whose the list is. Again and again, as Redis may forget, and
// kombu's workers take bindings away that nobody renews.
// kombu/transport/redis.py REFRESH_BINDING.
func (b *mailbox) bind(ctx context.Context) error {
	c := b.e.client
	until := float64(time.Now().Add(bindingKept).UnixMilli())
	for _, res := range c.DoMulti(ctx,
		c.B().Sadd().Key(b.table).Member(b.member).Build(),
		c.B().Zadd().Key(b.e.opts.Prefix+"_kombu.binding_deadlines").Gt().ScoreMember().ScoreMember(until, b.topic.Exchange).Build(),
	) {
		if err := res.Error(); err != nil {
			return err
		}
	}
	return nil
}

// unbind removes all trace. What it cannot remove is harmless.
func (b *mailbox) unbind() {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout) // the reader's is over
	defer cancel()
	c := b.e.client
	for _, res := range c.DoMulti(ctx, c.B().Srem().Key(b.table).Member(b.member).Build(), c.B().Del().Key(b.lists...).Build()) {
		if err := res.Error(); err != nil && !b.e.closed() {
			b.e.log.Warn("redis: a mailbox was not removed", "exchange", b.topic.Exchange, "key", b.topic.Key, "err", err)
		}
	}
}

// read yields what comes until ctx ends, and goes on after an outage.
func (b *mailbox) read(ctx context.Context, yield func(engine.Message) bool) {
	c := b.e.client
	wait := minRetryWait
	for ctx.Err() == nil {
		popped, err := c.Do(ctx, c.B().Brpop().Key(b.lists...).Timeout(mailboxRefresh.Seconds()).Build()).AsStrSlice()
		if err == nil && len(popped) == 2 {
			wait = minRetryWait
			if m, ok := b.e.broadcastOf(b.topic, []byte(popped[1])); ok && (ctx.Err() != nil || !yield(m)) {
				return
			}
			continue
		}
		if err == nil || rueidis.IsRedisNil(err) {
			err = b.bind(ctx)
		}
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxRetryWait)
	}
}
