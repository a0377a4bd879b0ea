//go:build !linux

package control

import (
	"encoding/json"
	"time"
)

// started stands in for the host's start: Go does not tell the system's clock.
var started = time.Now()

// monotonic is what Python's time.monotonic() is like: it never runs backwards.
func monotonic() time.Duration { return keepRevoked + time.Since(started) }

// resident is not known here.
func resident() int64 { return 0 }

// usage is not known here.
func usage() json.RawMessage { return notAvailable }
