package worker

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// output carries a run's records to its stream in order. Records that come
// while an append is under way go together in the next one.
type output struct {
	run *run

	mu    sync.Mutex
	queue []engine.Entry
	bytes int           // in queue
	busy  chan struct{} // closed when the append under way is done; nil if none is
	err   error         // sticky: nothing more is taken
}

// maxOutput bounds the payload bytes of one run that wait to be stored.
const maxOutput = 1 << 20

// Emit implements rhubarb.Output.
func (o *output) Emit(ctx context.Context, e engine.Entry) error {
	if len(e.Payload) > engine.MaxRecord {
		return errors.Join(engine.ErrLimit, errors.New("the record is too large for a stream"))
	}
	for {
		o.mu.Lock()
		if o.err != nil {
			defer o.mu.Unlock()
			return o.err
		}
		if o.bytes < maxOutput {
			break
		}
		wait := o.busy
		o.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer o.mu.Unlock()
	o.queue = append(o.queue, e)
	o.bytes += len(e.Payload)
	if o.busy == nil {
		o.busy = make(chan struct{})
		go o.flush(o.busy) // ends when the queue is empty; drain waits for it
	}
	return nil
}

// Put implements rhubarb.Output.
func (o *output) Put(ctx context.Context, status string, meta json.RawMessage) error {
	o.drain()
	o.mu.Lock()
	err := o.err
	o.mu.Unlock()
	if err != nil {
		return err
	}
	r := o.run
	st := r.state(&celery.Result{Status: status, Result: meta})
	err = r.s.app.Engines().Results.Put(ctx, []engine.StatePut{{State: *st, Fence: r.d.Fence}})[0]
	if errors.Is(err, engine.ErrSuperseded) {
		r.supersede()
		return rhubarb.ErrSuperseded
	}
	return err
}

// flush appends until the queue is empty.
func (o *output) flush(done chan struct{}) {
	for {
		o.mu.Lock()
		batch := o.queue
		if len(batch) == 0 || o.err != nil {
			o.queue, o.bytes, o.busy = nil, 0, nil
			o.mu.Unlock()
			close(done)
			return
		}
		o.queue, o.bytes = nil, 0
		next := make(chan struct{})
		o.busy = next
		o.mu.Unlock()
		close(done)
		done = next
		o.append(batch)
	}
}

func (o *output) append(batch []engine.Entry) {
	r := o.run
	// What a stopped handler still says belongs into the stream, so this does
	// not end with its context but with the session.
	err := r.s.app.Engines().Streams.Append(r.s.life, []engine.Append{{Stream: r.d.ID, Fence: r.d.Fence, Records: batch}})[0]
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrSuperseded):
		o.close(rhubarb.ErrSuperseded)
		r.supersede()
	default:
		o.close(err)
	}
}

// drain waits until all that was emitted is stored or refused.
func (o *output) drain() {
	for {
		o.mu.Lock()
		wait := o.busy
		o.mu.Unlock()
		if wait == nil {
			return
		}
		<-wait
	}
}

// close refuses what comes later.
func (o *output) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}
