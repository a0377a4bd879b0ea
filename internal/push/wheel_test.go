package push

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWheelIsNeverEarlyAndLessThanATickLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tick = 250 * time.Millisecond
		w := NewWheel(0)
		var ran atomic.Int64
		for range 2000 {
			time.Sleep(rand.N(100 * time.Millisecond))
			d, begun := rand.N(10*time.Minute), time.Now()
			w.Schedule(d, func() {
				ran.Add(1)
				if late := time.Since(begun) - d; late < 0 || late >= tick {
					t.Errorf("%v ran %v late, want less than %v and not early", d, late, tick)
				}
			})
		}
		time.Sleep(11 * time.Minute)
		if got := ran.Load(); got != 2000 {
			t.Errorf("%d functions ran, want 2000", got)
		}
	})
}

func TestWheelRunsAtTheExactTick(t *testing.T) {
	for _, c := range []struct {
		name           string
		after, d, want time.Duration // scheduled at, for; runs at
	}{
		{"zero is the next tick", 0, 0, time.Second},
		{"a negative time is zero", 100 * time.Millisecond, -time.Hour, time.Second},
		{"a whole tick from its beginning", 5 * time.Second, time.Second, 6 * time.Second},
		{"zero at a tick's beginning is now", 5 * time.Second, 0, 5 * time.Second},
		{"a nanosecond more is a tick more", 5 * time.Second, time.Second + 1, 7 * time.Second},
		{"one turn of the wheel", 0, slots * time.Second, slots * time.Second},
		{"ten turns and a bit", 300 * time.Millisecond, 10 * slots * time.Second, (10*slots + 1) * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, start := NewWheel(time.Second), time.Now()
				time.Sleep(c.after)
				ran := make(chan time.Duration)
				w.Schedule(c.d, func() { ran <- time.Since(start) })
				if got := <-ran; got != c.want {
					t.Errorf("scheduled at %v for %v: ran at %v, want %v", c.after, c.d, got, c.want)
				}
			})
		})
	}
}

func TestTimerIsPutOffPulledInAndStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, start := NewWheel(time.Second), time.Now()
		var ran []time.Duration
		timer := w.Schedule(10*time.Second, func() { ran = append(ran, time.Since(start)) })
		expect := func(at time.Duration, want ...time.Duration) {
			t.Helper()
			time.Sleep(at - time.Since(start))
			synctest.Wait()
			if len(ran) != len(want) || len(ran) > 0 && ran[len(ran)-1] != want[len(want)-1] {
				t.Errorf("at %v: ran at %v, want %v", at, ran, want)
			}
		}
		expect(9 * time.Second)
		timer.Reset(10 * time.Second) // put off to 19 s, standing at 10
		expect(18 * time.Second)
		timer.Reset(500 * time.Second) // over the wheel's size
		expect(400 * time.Second)
		timer.Reset(5 * time.Second) // pulled in
		expect(406*time.Second, 405*time.Second)
		if timer.Stop() {
			t.Error("a timer that ran was stopped")
		}
		timer.Reset(4 * time.Second) // used again
		expect(411*time.Second, 405*time.Second, 410*time.Second)
		timer.Reset(4 * time.Second)
		if !timer.Stop() {
			t.Error("a scheduled timer could not be stopped")
		}
		expect(time.Hour, 405*time.Second, 410*time.Second)
		timer.Reset(math.MaxInt64)
		expect(1000*time.Hour, 405*time.Second, 410*time.Second)
		timer.Stop()
	})
}

func TestTimerSchedulesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, start := NewWheel(time.Second), time.Now()
		beats, done := 0, make(chan struct{})
		var timer *Timer
		timer = w.NewTimer(func() {
			if beats++; beats == 100 {
				close(done)
				return
			}
			timer.Reset(25 * time.Second)
		})
		timer.Reset(25 * time.Second)
		<-done
		if got := time.Since(start); got != 2500*time.Second {
			t.Errorf("100 heartbeats of 25 s took %v", got)
		}
	})
}

func TestWheelWakesOnlyForWhatStandsInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWheel(time.Second)
		armed := func(want int64) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.wake != want {
				t.Errorf("the alarm is set for tick %d, want %d", w.wake, want)
			}
		}
		armed(0)
		a := w.Schedule(25*time.Second, func() {})
		armed(25)
		b := w.Schedule(15*time.Second, func() {})
		armed(15)
		b.Stop()
		armed(25)
		time.Sleep(20 * time.Second)
		w.Schedule((slots-10)*time.Second, func() {}) // its slot is tick 10's, which is over
		armed(25)
		a.Stop()
		armed(slots + 10)
		time.Sleep(slots * time.Second)
		armed(0)
		if w.alarm.Stop() {
			t.Error("the alarm is set for nothing")
		}
	})
}

func TestWheelOutrunBySlowFunctionsGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, start := NewWheel(time.Second), time.Now()
		w.Schedule(time.Second, func() { time.Sleep(time.Minute) })
		ran := make(chan time.Duration)
		w.Schedule(2*time.Second, func() { ran <- time.Since(start) })
		if got := <-ran; got != 2*time.Second {
			t.Errorf("ran after %v, want 2s", got)
		}
		time.Sleep(time.Minute)
	})
}

func TestWheelUnderConcurrentUse(t *testing.T) {
	w := NewWheel(time.Millisecond)
	var fired, would atomic.Int64
	done := make(chan struct{})
	const users, each = 4, 300
	for range users {
		go func() {
			defer func() { done <- struct{}{} }()
			for range each {
				timer := w.Schedule(rand.N(10*time.Millisecond), func() { fired.Add(1) })
				for range 5 {
					timer.Reset(time.Hour + rand.N(time.Hour))
				}
				if !timer.Stop() {
					t.Error("a timer an hour away could not be stopped")
				}
				would.Add(1)
				timer.Reset(time.Millisecond)
			}
		}()
	}
	for range users {
		<-done
	}
	last := make(chan struct{})
	w.Schedule(20*time.Millisecond, func() { close(last) })
	<-last
	if got := fired.Load(); got < users*each {
		t.Errorf("%d functions ran, want at least %d", got, users*each)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count != 0 || w.wake != 0 {
		t.Errorf("%d timers left, alarm at %d", w.count, w.wake)
	}
}

func BenchmarkTimerPutOff(b *testing.B) {
	w := NewWheel(0)
	timers := make([]*Timer, 10_000)
	for i := range timers {
		timers[i] = w.Schedule(25*time.Second, func() {})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		timers[i%len(timers)].Reset(25 * time.Second)
	}
	for _, t := range timers {
		t.Stop()
	}
}
