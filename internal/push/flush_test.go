package push

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flush calls Flush on its own goroutine.
func (p *peer) flush(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.Flush(ctx) }()
	return done
}

func TestFlushOfNothingReturns(t *testing.T) {
	r := newRig(t)
	p := r.tcp(ConnOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Flush(ctx); err != nil {
		t.Errorf("nothing was pushed: %v", err)
	}
	p.push(t, "a")
	p.expect(t, "a")
	if err := p.Flush(t.Context()); err != nil {
		t.Errorf("all was read: %v", err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Errorf("all is written: %v", err)
	}
}

func TestFlushWaitsForWhatWasPushedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		p := r.pipe(ConnOptions{})
		var flushed []<-chan error
		expect := func(read string, want int) {
			t.Helper()
			p.expect(t, read)
			synctest.Wait()
			for i, done := range flushed {
				select {
				case err := <-done:
					if err != nil || i >= want {
						t.Errorf("after %q was read call %d returned %v, want the first %d to return", read, i, err, want)
					}
					flushed[i] = nil
				default:
					if done != nil && i < want {
						t.Errorf("after %q was read call %d has not returned", read, i)
					}
				}
			}
		}
		p.push(t, "aa")
		flushed = append(flushed, p.flush(t.Context()), p.flush(t.Context()))
		expect("a", 0)
		p.push(t, "bb")
		flushed = append(flushed, p.flush(t.Context()))
		synctest.Wait()
		p.push(t, strings.Repeat("c", maxWrite))
		expect("a", 2)
		expect("b", 2)
		expect("b", 3)
		flushed = append(flushed, p.flush(t.Context()))
		expect("c", 3)
		expect(strings.Repeat("c", maxWrite-1), 4)
	})
}

func TestFlushReturnsTheCauseOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		p := r.pipe(ConnOptions{})
		p.push(t, "a")
		cause := errors.New("no patience")
		ctx, cancel := context.WithCancelCause(t.Context())
		first, canceled, last := p.flush(t.Context()), p.flush(ctx), p.flush(t.Context())
		synctest.Wait()
		cancel(cause)
		if got := <-canceled; got != cause {
			t.Errorf("Flush: %v, want %v", got, cause)
		}
		p.expect(t, "a")
		if a, b := <-first, <-last; a != nil || b != nil {
			t.Errorf("the other calls: %v and %v", a, b)
		}
		if p.waiters != nil {
			t.Error("a call that has returned is remembered")
		}
		deadline, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		p.push(t, "b")
		if got := p.Flush(deadline); got != context.DeadlineExceeded {
			t.Errorf("Flush: %v, want %v", got, context.DeadlineExceeded)
		}
	})
}

func TestFlushReturnsTheReasonOfTheEnd(t *testing.T) {
	reason := errors.New("gone fishing")
	for _, c := range []struct {
		name string
		end  func(*peer)
		want error
	}{
		{"Close", func(p *peer) { p.Close(reason) }, reason},
		{"overflow", func(p *peer) { _ = p.Push([]byte("too much")) }, errOverflow},
		{"time", func(*peer) { time.Sleep(defaultWriteTimeout) }, errTimeout},
		{"the pool", func(p *peer) { p.pool.Close() }, ErrClosed},
		{"the client", func(p *peer) { p.client.Close() }, io.ErrClosedPipe},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				p := r.pipe(ConnOptions{Limit: 1})
				p.push(t, "a")
				calls := []<-chan error{p.flush(t.Context()), p.flush(t.Context())}
				synctest.Wait()
				c.end(p)
				for _, done := range append(calls, p.flush(t.Context())) {
					if got := <-done; !errors.Is(got, c.want) {
						t.Errorf("Flush: %v, want %v", got, c.want)
					}
				}
			})
		})
	}
}

func TestFlushUnderConcurrentUse(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Limit: 1 << 30})
			const pushers, each = 8, 100
			read := make(chan error, 1)
			go func() { read <- readMessages(p.client, pushers*each) }()
			var running sync.WaitGroup
			for pusher := range pushers {
				running.Go(func() {
					for seq := range each {
						m := message(pusher, seq, seq*10)
						if err := p.Push(m); err != nil {
							t.Errorf("Push: %v", err)
						}
						if err := p.Flush(t.Context()); err != nil {
							t.Errorf("Flush: %v", err)
						}
					}
				})
			}
			running.Wait()
			if err := <-read; err != nil {
				t.Error(err)
			}
		})
	}
}
