package mailbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Box holds what came for an inbox until it is received. Its methods may be
// called at once, Receive by one goroutine at a time. Use [New].
type Box struct {
	id   string // the inbox's half of its channels' names
	news chan struct{}

	mu     sync.Mutex
	items  []item // the oldest first
	bytes  int
	missed uint64
}

type item struct {
	engine.Incoming
	at time.Time
}

// New returns an empty box with an id of its own.
func New() *Box { return &Box{id: random(), news: make(chan struct{}, 1)} }

func random() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails
	return hex.EncodeToString(b[:])
}

// maxPrefix leaves room for both halves in a name.
const maxPrefix = 33

// ID is what tells this box from all others, 32 hex digits.
func (b *Box) ID() string { return b.id }

// IDOf returns the id of the box that a channel or the head of one names, and
// "" for a plain channel.
func IDOf(channel string) string {
	head := strings.TrimSuffix(engine.InboxOf(channel), "!")
	return head[strings.LastIndexByte(head, '.')+1:]
}

// NewChannel implements engine.Inbox.
func (b *Box) NewChannel(prefix string) (string, error) {
	if len(prefix) > maxPrefix {
		return "", fmt.Errorf("channel prefix has %d bytes, at most %d fit: %w", len(prefix), maxPrefix, engine.ErrLimit)
	}
	if err := engine.CheckGroup(prefix); err != nil {
		return "", fmt.Errorf("channel prefix: %w", err)
	}
	return prefix + "." + b.id + "!" + random(), nil // channels_redis/core.py new_channel
}

// Owns returns an error for a channel that is none of this box's.
func (b *Box) Owns(channel string) error {
	if err := engine.CheckChannel(channel); err != nil {
		return err
	}
	if IDOf(channel) != b.id {
		return fmt.Errorf("channel %q is not of this inbox: %w", channel, engine.ErrNotFound)
	}
	return nil
}

// Push adds a message and drops the oldest beyond the bounds. It never waits.
func (b *Box) Push(in engine.Incoming) {
	b.mu.Lock()
	b.items = append(b.items, item{in, time.Now()})
	b.bytes += len(in.Body)
	for len(b.items) > engine.InboxCapacity || b.bytes > engine.InboxBytes {
		b.drop()
	}
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// drop forgets the oldest message.
func (b *Box) drop() {
	b.bytes -= len(b.items[0].Body)
	b.items[0] = item{}
	b.items = b.items[1:]
	b.missed++
}

// Receive waits for messages. It ends with ctx, with engine.ErrClosed when one
// of the others is closed.
func (b *Box) Receive(ctx context.Context, inbox, broker <-chan struct{}) ([]engine.Incoming, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if out := b.all(); len(out) > 0 {
			return out, nil
		}
		select {
		case <-b.news:
		case <-ctx.Done():
		case <-inbox:
			return nil, engine.ErrClosed
		case <-broker:
			return nil, engine.ErrClosed
		}
	}
}

func (b *Box) all() []engine.Incoming {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.items) > 0 && time.Since(b.items[0].at) >= engine.LayerExpiry {
		b.drop()
	}
	out := make([]engine.Incoming, len(b.items))
	for i, it := range b.items {
		out[i] = it.Incoming
	}
	b.items, b.bytes = nil, 0
	return out
}

// Missed implements engine.Inbox.
func (b *Box) Missed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missed
}
