package sse_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestAPeerThatVanishedIsNoticedByTheSystem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	srv := &http.Server{}
	sse.Prepare(srv)
	srv.ConnContext(context.Background(), conn)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	var got error
	if err := raw.Control(func(fd uintptr) { ms, got = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil {
		t.Fatal(err)
	}
	if got != nil || ms != 30_000 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms, %v, want 30 s", ms, got)
	}
}
