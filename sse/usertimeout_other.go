//go:build !linux

package sse

import (
	"net"
	"time"
)

// setUserTimeout: other systems have no such option, or under other names.
func setUserTimeout(*net.TCPConn, time.Duration) {}
