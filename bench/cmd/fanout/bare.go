package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"syscall"
)

// bareEdge is no library: each message is written to each socket by one loop,
// and nothing else is done. So it shows what a write costs, which is the least
// that a delivery can cost one at a time.
type bareEdge struct{ all groups[syscall.RawConn] }

func openBare(context.Context) (edge, error) { return &bareEdge{}, nil }

func (e *bareEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	// The crowd's key is always the same, and so is the answer to it.
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err == nil {
		_, err = nc.Write([]byte(answer))
	}
	if err != nil {
		nc.Close()
		return
	}
	e.all.add(groupOf(r), raw)
}

func (e *bareEdge) publish(group, text string) error {
	raw, err := json.Marshal(map[string]string{"m": text})
	if err != nil {
		return err
	}
	// RFC 6455, 5.2: a text of 126 to 65,535 bytes.
	frame := append([]byte{0x81, 126, byte(len(raw) >> 8), byte(len(raw))}, raw...)
	var failed error
	e.all.each(group, func(c syscall.RawConn) {
		err := c.Write(func(fd uintptr) bool {
			_, failed = syscall.Write(int(fd), frame)
			return failed != syscall.EAGAIN
		})
		if err != nil {
			failed = err
		}
	})
	return failed
}
