package enginetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

var locksTests = []test{
	{"a lock has one holder", "there is one leader", "", lockHeld},
	{"fences grow with every term", "what an old leader does is told apart", "", lockFences},
	{"a term expires", "a dead leader is replaced", "", lockExpires},
	{"a term is renewed", "a live leader stays", "", lockRenewed},
	{"what is over is not renewed", "the leader learns that it is none", "", lockLost},
	{"one of many gets the lock", "candidates race", "", lockRace},
	{"short terms are a second long", "engines count whole seconds", "", lockShort},
	{"locks bear any name", "and do not touch each other", "", lockNames},
	{"locks survive a kill", "or there are two leaders", "restart", lockSurvives},
	{"processes share a lock", "that is what it is for", "reopen", lockShared},
}

func (c *T) acquire(name, owner string, ttl time.Duration) engine.Fence {
	c.Helper()
	f, err := c.Locks.Acquire(c.soon(), name, owner, ttl)
	if err != nil || f == 0 {
		c.Fatalf("acquire %q: fence %d, %v", name, f, err)
	}
	return f
}

func (c *T) held(name, owner string) {
	c.Helper()
	_, err := c.Locks.Acquire(c.soon(), name, owner, time.Minute)
	c.want("acquire by "+owner, err, engine.ErrHeld)
}

func lockHeld(c *T) {
	f := c.acquire("l", "a", time.Minute)
	c.held("l", "b")
	c.want("renew", c.Locks.Renew(c.soon(), "l", f, time.Minute), nil)
	c.held("l", "b")
	c.want("release", c.Locks.Release(c.soon(), "l", f), nil)
	c.want("release again", c.Locks.Release(c.soon(), "l", f), engine.ErrSuperseded)
	c.want("renew after that", c.Locks.Renew(c.soon(), "l", f, time.Minute), engine.ErrSuperseded)
	c.acquire("l", "b", time.Minute)
	c.held("l", "a")
	c.want("release of the old term", c.Locks.Release(c.soon(), "l", f), engine.ErrSuperseded)
	c.held("l", "a")
}

func lockFences(c *T) {
	var last engine.Fence
	for i := range 5 {
		f := c.acquire("l", fmt.Sprint("owner", i), time.Minute)
		if f <= last {
			c.Errorf("fence went from %d to %d", last, f)
		}
		if err := c.Locks.Renew(c.soon(), "l", f, time.Minute); err != nil {
			c.Fatalf("renew: %v", err)
		}
		c.want("renew with another fence", c.Locks.Renew(c.soon(), "l", f+1, time.Minute), engine.ErrSuperseded)
		if err := c.Locks.Release(c.soon(), "l", f); err != nil { // the fence is that of the acquire still
			c.Fatalf("release: %v", err)
		}
		last = f
	}
}

func lockExpires(c *T) {
	began := time.Now()
	old := c.acquire("l", "a", time.Second)
	var f engine.Fence
	c.poll(time.Second+2*slack, "the term is over", func() bool {
		var err error
		f, err = c.Locks.Acquire(c.soon(), "l", "b", time.Minute)
		return err == nil
	})
	if took := time.Since(began); took < time.Second-10*time.Millisecond {
		c.Errorf("the term was over after %v, want 1s", took)
	}
	if f <= old {
		c.Errorf("fence went from %d to %d", old, f)
	}
	c.want("renew of the old term", c.Locks.Renew(c.soon(), "l", old, time.Minute), engine.ErrSuperseded)
	c.want("release of the old term", c.Locks.Release(c.soon(), "l", old), engine.ErrSuperseded)
	c.held("l", "c")
}

func lockRenewed(c *T) {
	f := c.acquire("l", "a", 2*time.Second)
	for range 5 {
		c.wait(time.Second)
		if err := c.Locks.Renew(c.soon(), "l", f, 2*time.Second); err != nil {
			c.Fatalf("renew: %v", err)
		}
		c.held("l", "b")
	}
}

func lockLost(c *T) {
	f := c.acquire("l", "a", time.Second)
	c.wait(time.Second + slack)
	c.want("renew", c.Locks.Renew(c.soon(), "l", f, time.Minute), engine.ErrSuperseded)
	c.want("release", c.Locks.Release(c.soon(), "l", f), engine.ErrSuperseded)
	c.want("renew of an unknown lock", c.Locks.Renew(c.soon(), "unknown", 1, time.Minute), engine.ErrSuperseded)
	c.want("release of an unknown lock", c.Locks.Release(c.soon(), "unknown", 1), engine.ErrSuperseded)
}

func lockRace(c *T) {
	for round := range 5 {
		var wg sync.WaitGroup
		fences := make([]engine.Fence, 20)
		errs := make([]error, 20)
		for i := range fences {
			wg.Go(func() {
				fences[i], errs[i] = c.Locks.Acquire(c.soon(), "l", fmt.Sprint("racer", i), time.Minute)
			})
		}
		wg.Wait()
		winners := 0
		for i, err := range errs {
			if err != nil {
				c.want(fmt.Sprint("racer ", i), err, engine.ErrHeld)
				continue
			}
			winners++
			c.want("release", c.Locks.Release(c.soon(), "l", fences[i]), nil)
		}
		if winners != 1 {
			c.Errorf("round %d had %d winners", round, winners)
		}
	}
}

func lockShort(c *T) {
	c.acquire("l", "a", time.Millisecond)
	c.wait(500 * time.Millisecond)
	c.held("l", "b")
	c.poll(500*time.Millisecond+2*slack, "the term is over", func() bool {
		_, err := c.Locks.Acquire(c.soon(), "l", "b", 1001*time.Millisecond)
		return err == nil
	})
	c.wait(1500 * time.Millisecond)
	c.held("l", "c") // rounded up to 2 s
}

func lockNames(c *T) {
	names := append(oddities[:len(oddities):len(oddities)], strings.Repeat("n", engine.MaxID))
	for _, name := range names {
		c.acquire(name, name, time.Minute)
	}
	for _, name := range names {
		c.held(name, "b")
	}
	for _, name := range []string{"", strings.Repeat("n", engine.MaxID+1)} {
		_, err := c.Locks.Acquire(c.soon(), name, "a", time.Minute)
		c.want(fmt.Sprintf("a name of %d bytes", len(name)), err, engine.ErrLimit)
	}
}

func lockSurvives(c *T) {
	f := c.acquire("l", "a", time.Minute)
	g := c.acquire("free", "a", time.Minute)
	c.want("release", c.Locks.Release(c.soon(), "free", g), nil)
	c = c.on(c.engine.Restart(c.T, c.Set))
	c.held("l", "b")
	c.want("renew", c.Locks.Renew(c.soon(), "l", f, time.Minute), nil)
	if h := c.acquire("free", "b", time.Minute); h <= g {
		c.Errorf("fence went from %d to %d", g, h)
	}
}

func lockShared(c *T) {
	other := c.on(c.engine.Reopen(c.T, c.Set))
	f := c.acquire("l", "a", time.Minute)
	other.held("l", "b")
	c.want("release", c.Locks.Release(c.soon(), "l", f), nil)
	if g := other.acquire("l", "b", time.Minute); g <= f {
		c.Errorf("fence went from %d to %d", f, g)
	}
	c.held("l", "a")
}
