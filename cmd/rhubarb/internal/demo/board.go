package demo

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

// look is how often the numbers are read while somebody watches.
const look = 400 * time.Millisecond

// numbers are what the page shows of queues and workers.
type numbers struct {
	Ready   int     `json:"ready"`
	Delayed int     `json:"delayed"`
	Held    int     `json:"held"`
	Demo    int     `json:"demo"` // the demo's own pid
	Workers []child `json:"workers"`
}

// board reads the numbers for all who watch, once for all of them, and not at
// all when there is nobody.
type board struct {
	read func(context.Context) (numbers, error)
	log  *slog.Logger
	wake chan struct{} // somebody came

	mu       sync.Mutex
	watchers map[chan string]bool // each holds the newest numbers
}

func newBoard(read func(context.Context) (numbers, error), log *slog.Logger) *board {
	return &board{read: read, log: log, wake: make(chan struct{}, 1), watchers: map[chan string]bool{}}
}

// Watch returns where the numbers arrive, as JSON. A watcher that lags gets
// the newest alone.
func (b *board) Watch() (news <-chan string, leave func()) {
	c := make(chan string, 1)
	b.mu.Lock()
	b.watchers[c] = true
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, c)
	}
}

// Run reads and shows the numbers until ctx ends.
func (b *board) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if b.watched() {
			b.show(ctx)
		} else {
			tick.Stop()
			select {
			case <-b.wake:
				tick.Reset(look)
				continue
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-b.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (b *board) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watchers) > 0
}

func (b *board) show(ctx context.Context) {
	n, err := b.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.log.Warn("read the queues", "err", err)
		}
		return
	}
	raw, err := json.Marshal(n)
	if err != nil {
		b.log.Error("write the numbers", "err", err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.watchers {
		select {
		case <-c: // what nobody has taken is old
		default:
		}
		c <- string(raw)
	}
}

// sum adds up the queues that are the demo's.
func sum(queues []engine.QueueInfo) (n numbers) {
	for _, q := range queues {
		if q.Name == queue || q.Name == bulkQueue {
			n.Ready += q.Ready
			n.Delayed += q.Delayed
			n.Held += q.Held
		}
	}
	return n
}
