package rhubarb

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestRetryPolicyDecides(t *testing.T) {
	boom := errors.New("boom")
	wrong := &ArgumentError{"to", "is required but missing"}
	exact := RetryPolicy{Max: 5, Backoff: time.Second, NoJitter: true}
	cases := []struct {
		name    string
		policy  RetryPolicy
		err     error
		retries int
		wait    time.Duration
		again   bool
	}{
		{"no policy, plain error", RetryPolicy{}, boom, 0, 0, false},
		{"no policy, asked for", RetryPolicy{}, Retry(boom, 7*time.Second), 0, 7 * time.Second, true},
		{"no policy, asked for a fourth time", RetryPolicy{}, Retry(boom, 0), 3, 0, false},
		{"asked for at once", exact, Retry(boom, 0), 0, 0, true},
		{"asked for at the policy's wait", exact, Retry(boom, -1), 2, 4 * time.Second, true},
		{"first", exact, boom, 0, time.Second, true},
		{"doubles", exact, boom, 3, 8 * time.Second, true},
		{"limit reached", exact, boom, 5, 0, false},
		{"no limit", RetryPolicy{Max: -1, NoJitter: true}, boom, 1000, 10 * time.Minute, true},
		{"capped", RetryPolicy{Max: 9, Backoff: time.Minute, MaxBackoff: 3 * time.Minute, NoJitter: true}, boom, 5, 3 * time.Minute, true},
		{"wrong argument", exact, wrong, 0, 0, false},
		{"permanent", exact, fmt.Errorf("mail: %w", Permanent(boom)), 0, 0, false},
		{"not worth it", RetryPolicy{Max: 5, If: func(error) bool { return false }}, boom, 0, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			wait, again := c.policy.Decide(c.err, c.retries)
			if wait != c.wait || again != c.again {
				t.Errorf("Decide(%v, %d) = %v, %v; want %v, %v", c.err, c.retries, wait, again, c.wait, c.again)
			}
		})
	}
}

func TestRetryJitterStaysInHalf(t *testing.T) {
	p := RetryPolicy{Max: 3, Backoff: 8 * time.Second}
	seen := map[time.Duration]bool{}
	for range 200 {
		wait, _ := p.Decide(errors.New("x"), 0)
		if wait < 4*time.Second || wait > 8*time.Second {
			t.Fatalf("wait %v, want 4s to 8s", wait)
		}
		seen[wait] = true
	}
	if len(seen) < 100 {
		t.Errorf("200 waits had %d values: they do not spread", len(seen))
	}
}

func TestPermanentKeepsTheError(t *testing.T) {
	boom := errors.New("boom")
	if err := Permanent(boom); !errors.Is(err, boom) || err.Error() != "boom" {
		t.Errorf("Permanent(boom) = %q, Is boom %v; want the same text and identity", err, errors.Is(err, boom))
	}
	if Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
}
