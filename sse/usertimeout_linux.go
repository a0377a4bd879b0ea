package sse

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout: RFC 5482, the time that sent data may stay unacknowledged.
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		// A kernel without it keeps its own bound.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
