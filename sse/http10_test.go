package sse_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// A proxy may ask over HTTP/1.0, as nginx does by default. There the end of
// the connection is the end of the body (RFC 9112, 6.3), so nothing may be
// chunked, and the connection must not be said to stay.
func TestHTTP10IsAnsweredWithoutChunksAndClosed(t *testing.T) {
	edge := &sse.Server{}
	dial := edgeOf(t, edge, upgrade(&sse.Options{Server: edge}, func(c *sse.Conn) { c.Send(sse.Event{ID: "1", Data: "a"}) }))
	for _, says := range []string{"", "Connection: close\r\n", "Connection: keep-alive\r\n"} {
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answer := exchange(t, conn, "GET / HTTP/1.0\r\nHost: x\r\n"+says+"\r\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		for line := range strings.SplitSeq(strings.ToLower(head), "\r\n") {
			if strings.HasPrefix(line, "transfer-encoding:") || line == "connection: keep-alive" || strings.HasPrefix(line, "content-length:") {
				t.Errorf("%q is answered with %q", says, line)
			}
		}
		if want := ":\nid: 1\ndata: a\n\n"; body != want || !strings.Contains(head, " 200 OK") {
			t.Errorf("%q is answered with %q, want the body %q", says, answer, want)
		}
	}
}

// exchange sends a request and reads to the end of the connection.
func exchange(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("got %q, %v", answer, err)
	}
	return string(answer)
}
