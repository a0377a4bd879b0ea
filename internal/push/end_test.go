package push

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errBye = errors.New("said goodbye")

func TestEndWritesAllThenTheLastThenEOF(t *testing.T) {
	for _, tr := range transports[:3] { // a pipe has no CloseWrite
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Limit: 1 << 30, Linger: time.Hour, WriteTimeout: time.Hour})
			r.stick(p)
			p.End([]byte("last"), errBye)
			if got := p.Push([]byte("late")); got != errBye {
				t.Errorf("Push after End: %v, want %v", got, errBye)
			}
			if got := r.pool.Stats(); got.Conns != 1 || got.Pushed != stuckMessages+1 {
				t.Errorf("Stats: %+v, want one connection, and %d pushed", got, stuckMessages+1)
			}
			got, err := io.ReadAll(p.client)
			if err != nil || len(got) != stuckMessages<<20+4 || string(got[stuckMessages<<20:]) != "last" {
				t.Fatalf("the client read %d bytes and %v, ending in %q, want %d and EOF",
					len(got), err, got[max(len(got)-10, 0):], stuckMessages<<20+4)
			}
			p.readOn(t)
			select {
			case err := <-p.closed:
				t.Errorf("OnClose got %v before Close", err)
			default:
			}
			p.Close(errors.New("another reason"))
			if got := <-p.closed; got != errBye {
				t.Errorf("OnClose got %v, want %v", got, errBye)
			}
		})
	}
}

// readOn has the owner read what the client sends after its end of file.
func (p *peer) readOn(t *testing.T) {
	t.Helper()
	for _, want := range []string{"I have read", "all of it"} {
		if _, err := io.WriteString(p.client, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(p.server, got); err != nil || string(got) != want {
			t.Fatalf("the owner read %q and %v, want %q", got, err, want)
		}
	}
}

// An owner that has read the client's end of file calls Close at once.
func TestCloseAfterEndWaitsForTheLast(t *testing.T) {
	for _, tr := range transports[:3] {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Limit: 1 << 30, Linger: time.Hour, WriteTimeout: time.Hour})
			r.stick(p)
			p.End([]byte("last"), errBye)
			p.Close(io.EOF)
			if got := p.Push([]byte("late")); got != errBye {
				t.Errorf("Push: %v, want %v", got, errBye)
			}
			got, err := io.ReadAll(p.client)
			if err != nil || len(got) != stuckMessages<<20+4 || string(got[stuckMessages<<20:]) != "last" {
				t.Errorf("the client read %d bytes and %v, want %d, the last and EOF", len(got), err, stuckMessages<<20+4)
			}
			if got := <-p.closed; got != errBye {
				t.Errorf("OnClose got %v, want %v", got, errBye)
			}
		})
	}
}

// What the client had sent and nobody read when End was called must not cost it
// the last bytes.
func TestEndDoesNotReset(t *testing.T) {
	for _, tr := range transports[:3] {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Linger: time.Hour})
			if _, err := io.WriteString(p.client, "unread"); err != nil {
				t.Fatal(err)
			}
			p.End([]byte("last"), errBye)
			if err := p.Flush(t.Context()); err != nil {
				t.Errorf("Flush after End: %v", err)
			}
			if _, err := io.WriteString(p.client, "and more"); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(p.client); err != nil || string(got) != "last" {
				t.Errorf("the client read %q and %v, want the last and EOF", got, err)
			}
		})
	}
}

func TestEndOfAnIdleConnection(t *testing.T) {
	for _, tr := range transports[:3] {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{})
			p.push(t, "before")
			p.expect(t, "before")
			p.End(nil, nil)
			p.End([]byte("a second end"), errBye)
			if got := p.Push([]byte("late")); got != ErrClosed {
				t.Errorf("Push: %v, want %v", got, ErrClosed)
			}
			if got, err := io.ReadAll(p.client); err != nil || len(got) != 0 {
				t.Errorf("the client read %q and %v, want EOF", got, err)
			}
			p.Close(nil)
			if got := <-p.closed; got != ErrClosed {
				t.Errorf("OnClose got %v, want %v", got, ErrClosed)
			}
			p.End([]byte("an end after the end"), errBye)
		})
	}
}

func TestEndLingers(t *testing.T) {
	for _, c := range []struct {
		name         string
		linger, want time.Duration
	}{
		{"3 seconds by default", 0, 3 * time.Second},
		{"as long as the options say", time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				p := r.pipe(ConnOptions{Linger: c.linger, Limit: 1})
				p.push(t, "some") // the queue is full
				p.End([]byte("last"), errBye)
				time.Sleep(5 * time.Second) // it lingers from when all is written
				p.expect(t, "somelast")
				start := time.Now()
				if n, err := p.client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("the client read %d bytes more and %v", n, err)
				}
				if got := <-p.closed; got != errBye {
					t.Errorf("OnClose got %v, want %v", got, errBye)
				}
				if got := time.Since(start); got != c.want {
					t.Errorf("closed after %v, want %v", got, c.want)
				}
				if got := r.pool.Stats(); got.Timeouts != 0 || got.Conns != 0 {
					t.Errorf("Stats: %+v, want no slow client", got)
				}
			})
		})
	}
}

func TestEndIsCutShort(t *testing.T) {
	for _, c := range []struct {
		name    string
		cut     func(*peer)
		want    time.Duration
		written bool
	}{
		{"the client reads nothing", func(p *peer) {}, defaultWriteTimeout, false},
		{"the client reads too slowly", func(p *peer) {
			for range 9 {
				time.Sleep(time.Second)
				_, _ = io.CopyN(io.Discard, p.client, 100) // seen by the time it takes
			}
		}, defaultWriteTimeout, false},
		{"the client is gone", func(p *peer) { p.client.Close() }, 0, false},
		{"Close, and the client reads nothing", func(p *peer) { p.Close(errors.New("another reason")) }, defaultWriteTimeout, false},
		{"Close, and the client reads all", func(p *peer) {
			p.Close(errors.New("another reason"))
			time.Sleep(time.Second)
			_, _ = io.CopyN(io.Discard, p.client, 2<<20+4)
		}, time.Second, true},
		{"Close of the pool", func(p *peer) { p.pool.Close() }, 0, false},
		{"Close while it lingers", func(p *peer) {
			_, _ = io.CopyN(io.Discard, p.client, 2<<20+4)
			time.Sleep(time.Second)
			p.Close(nil)
		}, time.Second, true},
		{"Close of the pool while it lingers", func(p *peer) {
			_, _ = io.CopyN(io.Discard, p.client, 2<<20+4)
			time.Sleep(time.Second)
			p.pool.Close()
		}, time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				p := r.pipe(ConnOptions{})
				p.push(t, strings.Repeat("x", 2<<20))
				start := time.Now()
				p.End([]byte("last"), errBye)
				flushed := p.flush(t.Context())
				synctest.Wait()
				c.cut(p)
				if got := <-p.closed; got != errBye {
					t.Errorf("OnClose got %v, want %v", got, errBye)
				}
				if got := time.Since(start); got != c.want {
					t.Errorf("closed after %v, want %v", got, c.want)
				}
				if p.limbo.Stop() {
					t.Error("a timer is left")
				}
				if got := <-flushed; got != errBye && (got != nil || !c.written) {
					t.Errorf("Flush: %v, want %v", got, errBye)
				}
				if got := r.pool.Stats(); got.Timeouts != 0 {
					t.Errorf("Stats: %+v, want no timeout: the reason was another", got)
				}
			})
		})
	}
}

func TestEndOfAStuckClient(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{WriteTimeout: 50 * time.Millisecond})
			p.End(make([]byte, stuckMessages<<20), errBye)
			if got := <-p.closed; got != errBye {
				t.Errorf("OnClose got %v, want %v", got, errBye)
			}
			p.expectReset(t)
		})
	}
}

// A client that reads late still gets what only the kernel has by then.
func TestEndDoesNotResetAfterLinger(t *testing.T) {
	for _, tr := range transports[:3] {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			p := tr.make(r, ConnOptions{Linger: 10 * time.Millisecond})
			p.readBuffer(t, 4096)
			last := strings.Repeat("x", 150_000)
			p.End([]byte(last), errBye)
			if err := p.Flush(t.Context()); err != nil && err != errBye {
				t.Errorf("Flush: %v", err)
			}
			if got := <-p.closed; got != errBye {
				t.Errorf("OnClose got %v, want %v", got, errBye)
			}
			p.readBuffer(t, 1<<20)
			if got, err := io.ReadAll(p.client); err != nil || string(got) != last {
				t.Errorf("the client read %d bytes and %v, want %d and EOF", len(got), err, len(last))
			}
		})
	}
}

// readBuffer says how much the client's kernel takes; the server's has the rest.
func (p *peer) readBuffer(t *testing.T, size int) {
	t.Helper()
	client := p.client
	if outer, ok := client.(*tls.Conn); ok {
		client = outer.NetConn()
	}
	if err := client.(interface{ SetReadBuffer(int) error }).SetReadBuffer(size); err != nil {
		t.Fatal(err)
	}
}

// A push may find the queue full before End and say so after it.
func TestEndIsNotUndoneByAnOverflow(t *testing.T) {
	r := newRig(t)
	p := r.tcp(ConnOptions{})
	p.End([]byte("last"), errBye)
	if got := p.end(byOverflow, errOverflow); got != errBye {
		t.Errorf("the push's error is %v, want %v", got, errBye)
	}
	if got, err := io.ReadAll(p.client); err != nil || string(got) != "last" {
		t.Errorf("the client read %q and %v, want the last and EOF", got, err)
	}
}

func TestFlushAfterEndIsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		p := r.pipe(ConnOptions{})
		p.End([]byte("last"), errBye)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := p.Flush(ctx); got != context.DeadlineExceeded {
			t.Errorf("Flush: %v, want %v", got, context.DeadlineExceeded)
		}
		p.expect(t, "last")
		synctest.Wait()
		if got := p.Flush(t.Context()); got != nil {
			t.Errorf("Flush of what is written: %v", got)
		}
	})
}
