package auth

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterLeavesNothingBehind(t *testing.T) {
	l := NewLimiter(3)
	for i := range 1000 {
		user := strconv.Itoa(i)
		leave, _ := l.Enter(user)
		unregister := l.Register(user, func(string) {})
		l.Register(user, func(string) {})
		if i%2 == 0 {
			unregister()
		}
		l.Kick(user, "out")
		unregister()
		leave()
	}
	if len(l.open) != 0 || len(l.ends) != 0 {
		t.Errorf("%d users and %d endings are left", len(l.open), len(l.ends))
	}
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(i int) [sha256.Size]byte { return sha256.Sum256([]byte(strconv.Itoa(i))) }
		c := newCache(3)
		for i := range 4 {
			c.put(key(i), answer{grant: &Grant{User: strconv.Itoa(i)}}, time.Now().Add(time.Minute))
			c.get(key(0))
		}
		for i, want := range []bool{true, false, true, true} {
			a, ok := c.get(key(i))
			if ok != want {
				t.Errorf("answer %d is there: %v, want %v", i, ok, want)
			}
			if ok && a.grant.User != strconv.Itoa(i) {
				t.Errorf("answer %d is that of %s", i, a.grant.User)
			}
		}
		c.put(key(9), answer{}, time.Now())
		if _, ok := c.get(key(9)); ok || c.order.Len() != 3 {
			t.Errorf("what is over at once was kept, of %d", c.order.Len())
		}
		time.Sleep(time.Minute)
		for i := range 4 {
			if _, ok := c.get(key(i)); ok {
				t.Errorf("answer %d outlived its time", i)
			}
		}
		if c.order.Len() != 0 || len(c.byKey) != 0 {
			t.Errorf("%d and %d answers are left", c.order.Len(), len(c.byKey))
		}
	})
}
