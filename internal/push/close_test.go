package push

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

func TestCloseGivesTheReason(t *testing.T) {
	reason := errors.New("gone fishing")
	for _, c := range []struct {
		name        string
		close, want error
	}{
		{"its own", reason, reason},
		{"none", nil, ErrClosed},
		{"another connection's, which is not counted", errTimeout, errTimeout},
	} {
		for _, tr := range transports {
			t.Run(c.name+", "+tr.name, func(t *testing.T) {
				r := newRig(t)
				p := tr.make(r, ConnOptions{})
				p.Close(c.close)
				p.Close(errors.New("a second reason"))
				if got := <-p.closed; got != c.want {
					t.Errorf("OnClose got %v, want %v", got, c.want)
				}
				if got := p.Push([]byte("late")); got != c.want {
					t.Errorf("Push: %v, want %v", got, c.want)
				}
				if n, err := p.client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("the client read %d bytes and %v, want EOF", n, err)
				}
				if got := r.pool.Stats(); got != (Stats{}) {
					t.Errorf("Stats: %+v, want nothing", got)
				}
			})
		}
	}
}

func TestCloseByManyAtOnce(t *testing.T) {
	r := newRig(t)
	p := r.tcp(ConnOptions{})
	var closing sync.WaitGroup
	for i := range 8 {
		closing.Go(func() { p.Close(fmt.Errorf("reason %d", i)) })
	}
	closing.Wait()
	if got, want := <-p.closed, p.Push([]byte("late")); got != want {
		t.Errorf("OnClose got %v and Push %v, want the same", got, want)
	}
}

// stuckMessages of 1 MiB are more than the kernel takes for a client.
const stuckMessages = 32

// stick pushes so much that some waits until the client reads.
func (r *rig) stick(p *peer) {
	r.t.Helper()
	big := make([]byte, 1<<20)
	for range stuckMessages {
		if err := p.Push(big); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestCloseDuringWrites(t *testing.T) {
	reason := errors.New("gone fishing")
	for _, tr := range transports {
		t.Run(tr.name+", stuck", func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Limit: 1 << 30})
			r.stick(p)
			p.Close(reason)
			if got := <-p.closed; got != reason {
				t.Errorf("OnClose got %v, want %v", got, reason)
			}
		})
		t.Run(tr.name+", under way", func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Limit: 1 << 30})
			read := make(chan error)
			go func() {
				_, err := io.CopyN(io.Discard, p.client, 1<<20)
				p.Close(reason)
				read <- err
			}()
			m := message(0, 0, 500)
			for p.Push(m) == nil {
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
			if got := <-p.closed; got != reason {
				t.Errorf("OnClose got %v, want %v", got, reason)
			}
		})
	}
}

func TestPoolCloseEndsIdleAndStuckConnections(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{})
			stuck := tr.make(r, ConnOptions{Limit: 1 << 30})
			ending := tr.make(r, ConnOptions{Limit: 1 << 30})
			r.stick(stuck)
			r.stick(ending)
			ending.End([]byte("last"), io.ErrNoProgress)
			var closing sync.WaitGroup
			for range 2 {
				closing.Go(r.pool.Close)
			}
			closing.Wait()
			r.pool.Close()
			r.pool.makeReady(p.Conn) // by a push from before
			r.pool.mu.Lock()
			if r.pool.running != 0 {
				t.Error("a flusher was started after Close")
			}
			r.pool.mu.Unlock()
			for _, c := range []struct {
				p    *peer
				want error
			}{{p, ErrClosed}, {stuck, ErrClosed}, {ending, io.ErrNoProgress}} {
				select {
				case got := <-c.p.closed:
					if got != c.want {
						t.Errorf("OnClose got %v, want %v", got, c.want)
					}
				default:
					t.Error("OnClose was not called before Close returned")
				}
				if got := c.p.Push([]byte("late")); got != c.want {
					t.Errorf("Push after Close of the pool: %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestPoolCloseWhileOthersPush(t *testing.T) {
	r := newRig(t)
	for range 50 {
		r.tcp(ConnOptions{})
	}
	var running sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range 4 {
		running.Go(func() {
			m := message(0, 0, 100)
			for i := 0; ; i++ {
				p := r.peers[i%len(r.peers)]
				err := p.Push(m)
				if errors.Is(err, ErrClosed) {
					return
				}
				if i == 200 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-begun
	}
	r.pool.Close()
	running.Wait()
}
