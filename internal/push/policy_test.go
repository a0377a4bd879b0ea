package push

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody reads while this test pushes: if a push could wait, it would for ever.
func TestOverflowEndsTheConnection(t *testing.T) {
	const limit = 64 << 10
	for _, policy := range []Policy{Disconnect, Conflate} {
		for _, tr := range transports {
			t.Run(fmt.Sprintf("policy %d, %s", policy, tr.name), func(t *testing.T) {
				r := newRig(t)
				slow := tr.make(r, ConnOptions{Limit: limit, Policy: policy, WriteTimeout: time.Hour})
				well := tr.make(r, ConnOptions{Limit: limit, WriteTimeout: time.Hour})
				m := item{b: message(0, 0, 2000)}
				var err error
				for i := 0; err == nil; i++ {
					if i == 100_000 {
						t.Fatalf("%d messages of %d bytes were accepted", i, len(m.b))
					}
					err = slow.Push(m.b)
					if held := slow.held(); held >= limit+m.cost() {
						t.Fatalf("%d bytes are held, want less than the limit %d and one message of %d", held, limit, m.cost())
					}
					if i%32 == 0 {
						well.push(t, "well?")
						well.expect(t, "well?")
					}
				}
				checkSlow(t, slow, err, Stats{Conns: 1, Overflows: 1})
				well.push(t, "well")
				well.expect(t, "well")
			})
		}
	}
}

func TestTimeoutEndsTheConnection(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			r := newRig(t)
			slow := tr.make(r, ConnOptions{Limit: 1 << 30, WriteTimeout: 50 * time.Millisecond})
			well := tr.make(r, ConnOptions{WriteTimeout: time.Hour})
			r.stick(slow)
			err := slow.Flush(t.Context())
			if got := slow.Push([]byte("late")); got != err {
				t.Errorf("Push: %v, want %v as from Flush", got, err)
			}
			checkSlow(t, slow, err, Stats{Conns: 1, Timeouts: 1})
			well.push(t, "well")
			well.expect(t, "well")
		})
	}
}

// checkSlow checks the end of a connection whose client does not read, and the
// counters of that.
func checkSlow(t *testing.T, p *peer, err error, want Stats) {
	t.Helper()
	if !errors.Is(err, ErrSlow) {
		t.Errorf("Push: %v, want %v", err, ErrSlow)
	}
	if got := <-p.closed; got != err {
		t.Errorf("OnClose got %v, want %v", got, err)
	}
	if got := p.pool.Stats(); got.Conns != want.Conns || got.Overflows != want.Overflows || got.Timeouts != want.Timeouts {
		t.Errorf("Stats: %+v, want %+v", got, want)
	}
	if p.held() != 0 {
		t.Errorf("%d bytes are held after the end", p.held())
	}
	p.expectReset(t)
}

// expectReset reads to the end, which over TCP and TLS is a reset.
func (p *peer) expectReset(t *testing.T) {
	t.Helper()
	tcp := p.client.RemoteAddr().Network() == "tcp"
	if _, err := io.Copy(io.Discard, p.client); tcp && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v, want a reset", err)
	}
}

func TestWriteTimeoutIsTheTimeInWhichNothingIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		p := r.pipe(ConnOptions{})
		start := time.Now()
		p.push(t, strings.Repeat("x", 4*maxWrite), "y")
		for range 4 {
			time.Sleep(9 * time.Second)
			p.expect(t, strings.Repeat("x", maxWrite))
		}
		p.expect(t, "y")
		synctest.Wait()
		time.Sleep(time.Minute) // idle is not slow
		p.push(t, "z")
		if got := <-p.closed; !errors.Is(got, ErrSlow) {
			t.Errorf("OnClose got %v, want %v", got, ErrSlow)
		}
		if got, want := time.Since(start), (4*9+60+10)*time.Second; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
	})
}

// The same where the pool sees how much the client takes. The kernel's sockets
// need real time: the client takes a little after each third of the timeout.
func TestTricklingTCPClientStays(t *testing.T) {
	r := newRig(t)
	const timeout = 1500 * time.Millisecond
	p := r.tcp(ConnOptions{Limit: 1 << 30, WriteTimeout: timeout})
	r.stick(p)
	tick := time.NewTicker(timeout / 3)
	defer tick.Stop()
	for range 4 {
		<-tick.C
		if _, err := io.CopyN(io.Discard, p.client, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, p.client, (stuckMessages-4*4)<<20); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 { // idle is not slow
		<-tick.C
	}
	p.push(t, "still here")
	p.expect(t, "still here")
}

func TestDropRefusesWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		const limit, size, pushed = 10_000, 60, 1000
		p := r.pipe(ConnOptions{Limit: limit, Policy: Drop, WriteTimeout: time.Hour})
		accepted := (limit + size + slot - 1) / (size + slot)
		for seq := range pushed {
			if err := p.Push(message(0, seq, size-messageHead)); err != nil {
				t.Fatal(err)
			}
			if held := p.held(); held >= limit+size+slot {
				t.Fatalf("%d bytes are held", held)
			}
		}
		if got, want := p.Dropped(), uint64(pushed-accepted); got != want {
			t.Errorf("%d were dropped, want %d", got, want)
		}
		if err := readMessages(p.client, accepted); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		p.push(t, "there is room again")
		p.expect(t, "there is room again")
		want := Stats{Conns: 1, Pushed: uint64(accepted + 1), Dropped: p.Dropped()}
		got := r.pool.Stats()
		got.Bytes, got.Writes, got.Waits = 0, 0, 0
		if got != want {
			t.Errorf("Stats: %+v, want %+v", got, want)
		}
	})
}

func TestAMessageOverTheLimitPassesByItself(t *testing.T) {
	for _, policy := range []Policy{Disconnect, Drop, Conflate} {
		r := newRig(t)
		p := r.tcp(ConnOptions{Limit: 10, Policy: policy})
		big := strings.Repeat("x", 100_000)
		for range 3 {
			p.push(t, big)
			p.expect(t, big)
			if err := p.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// keyed is what PushKey takes.
type keyed struct{ key, b string }

func TestConflate(t *testing.T) {
	one := keyed{"a", strings.Repeat("1", 60)} // costs 100
	for _, c := range []struct {
		name      string
		policy    Policy
		limit     int
		push      []keyed
		want      []string // read after the message that is being written
		conflated uint64
		slow      bool
	}{
		{"the newest of a key wins and keeps its place", Conflate, 0,
			[]keyed{{"a", "a1"}, {"b", "b1"}, {"", "-"}, {"a", "a22"}, {"a", "a3"}},
			[]string{"a3", "b1", "-"}, 2, false},
		{"what is being written is not replaced", Conflate, 0,
			[]keyed{{"plug", "p1"}, {"", "-"}, {"plug", "p2"}},
			[]string{"p2", "-"}, 1, false},
		{"without a key nothing is replaced", Conflate, 0,
			[]keyed{{"", "1"}, {"", "2"}}, []string{"1", "2"}, 0, false},
		{"other policies do not replace", Disconnect, 0,
			[]keyed{{"a", "a1"}, {"a", "a2"}}, []string{"a1", "a2"}, 0, false},
		{"the policy Drop does not replace", Drop, 0,
			[]keyed{{"a", "a1"}, {"a", "a2"}}, []string{"a1", "a2"}, 0, false},
		{"a full queue still replaces", Conflate, 150,
			[]keyed{one, {"a", strings.Repeat("2", 200)}, {"a", "3"}},
			[]string{"3"}, 2, false},
		{"a full queue replaces by something smaller", Conflate, 150,
			[]keyed{{"b", "b1"}, {"a", strings.Repeat("1", 200)}, {"b", "b2"}},
			[]string{"b2", strings.Repeat("1", 200)}, 1, false},
		{"a full queue does not replace by something larger", Conflate, 150,
			[]keyed{{"b", "b1"}, {"a", strings.Repeat("1", 200)}, {"b", "b22"}}, nil, 0, true},
		{"another key overflows a full queue", Conflate, 100,
			[]keyed{one, {"b", "b"}}, nil, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				p := r.pipe(ConnOptions{Policy: c.policy, Limit: c.limit})
				if err := p.PushKey("plug", []byte("(plug)")); err != nil {
					t.Fatal(err)
				}
				p.expect(t, "(")
				synctest.Wait() // its rest is being written
				var err error
				for _, k := range c.push {
					err = p.PushKey(k.key, []byte(k.b))
				}
				if errors.Is(err, ErrSlow) != c.slow || !c.slow && err != nil {
					t.Fatalf("the last push: %v, want ErrSlow: %v", err, c.slow)
				}
				if c.slow {
					return
				}
				p.expect(t, "plug)"+strings.Join(c.want, ""))
				if got := r.pool.Stats(); got.Conflated != c.conflated || got.Pushed != uint64(1+len(c.push)) {
					t.Errorf("Stats: %+v, want %d conflated of %d", got, c.conflated, 1+len(c.push))
				}
				p.Close(nil)
				if n, err := p.client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("the client read %d bytes more and %v", n, err)
				}
			})
		})
	}
}

// Values that grow must not outgrow the bound by conflation.
func TestConflateKeepsTheBound(t *testing.T) {
	r := newRig(t)
	const limit, largest = 5000, 2000
	p := r.pipe(ConnOptions{Policy: Conflate, Limit: limit})
	keys := slices.Collect(strings.SplitSeq("abcdefghij", ""))
	for i := 0; ; i++ {
		err := p.PushKey(keys[i%len(keys)], make([]byte, min(i+1, largest)))
		if held := p.held(); held >= limit+largest+slot {
			t.Fatalf("%d bytes are held, limit %d", held, limit)
		}
		if err != nil {
			break
		}
	}
	if got := <-p.closed; !errors.Is(got, ErrSlow) {
		t.Errorf("OnClose got %v, want %v", got, ErrSlow)
	}
}
