package rhubarb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy says which errors of a handler run the task again, how often and
// after what wait. The zero value retries only when the handler returns
// [Retry], up to three times, as Celery does.
type RetryPolicy struct {
	// Max is how many retries may follow the first run. Zero means none for
	// plain errors and three for [Retry]; negative means no limit.
	Max int

	// Backoff is the wait before the first retry; it doubles with each one.
	// Zero means one second.
	Backoff time.Duration

	// MaxBackoff bounds the wait. Zero means ten minutes.
	MaxBackoff time.Duration

	// NoJitter waits exactly the backoff. Otherwise the wait is random
	// between half of it and all of it, so that failures spread out.
	NoJitter bool

	// If says which errors are worth a retry. Nil means all, except
	// [Permanent] ones and wrong arguments.
	If func(error) bool
}

const (
	defaultRetries    = 3
	defaultBackoff    = time.Second
	defaultMaxBackoff = 10 * time.Minute
)

// Decide reports whether a run that failed with err after the given number of
// earlier retries is to be tried again, and after what wait.
func (p RetryPolicy) Decide(err error, retries int) (wait time.Duration, again bool) {
	var asked *retryError
	explicit := errors.As(err, &asked)
	limit := p.Max
	switch {
	case explicit && limit == 0:
		limit = defaultRetries
	case !explicit && (limit == 0 || !p.worth(err)):
		return 0, false
	}
	if limit >= 0 && retries >= limit {
		return 0, false
	}
	if explicit && asked.after >= 0 {
		return asked.after, true
	}
	return p.wait(retries), true
}

func (p RetryPolicy) worth(err error) bool {
	var wrong *ArgumentError
	if errors.As(err, &wrong) || errors.Is(err, errPermanent) {
		return false
	}
	return p.If == nil || p.If(err)
}

func (p RetryPolicy) wait(retries int) time.Duration {
	base, top := p.Backoff, p.MaxBackoff
	if base <= 0 {
		base = defaultBackoff
	}
	if top <= 0 {
		top = defaultMaxBackoff
	}
	d := top
	if retries < 62 && base <= top>>retries {
		d = base << retries
	}
	if p.NoJitter {
		return d
	}
	return d/2 + rand.N(d/2+1)
}

func (p RetryPolicy) check() error {
	if p.Backoff < 0 || p.MaxBackoff < 0 {
		return fmt.Errorf("retry backoff %v, %v must not be negative", p.Backoff, p.MaxBackoff)
	}
	return nil
}
