package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// files is how many file descriptors this process has open; 0 where the system
// does not tell.
func files() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

// leaver opens one connection, and drops it in its way.
type leaver struct {
	t    *testing.T
	addr string
}

const socketHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func (l leaver) visit(path string, way int) {
	nc, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second)) // it is open
	head := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	if strings.Contains(path, "/ws?") {
		head += socketHeaders
	}
	if _, err := io.WriteString(nc, head+"\r\n"); err != nil {
		l.t.Error(err)
		return
	}
	tcp := nc.(*net.TCPConn)
	if way == 0 { // it goes before it is answered
		return
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil || res.StatusCode >= 500 {
		l.t.Errorf("%s: answered %v, %v", path, res, err)
		return
	}
	switch way {
	case 1: // a reset
		_ = tcp.SetLinger(0)
	case 2: // a half close
		_ = tcp.CloseWrite()
		_, _ = io.ReadAll(nc)
	case 3: // a close frame, masked with zeros; for an event stream just a word
		_, _ = nc.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
	}
}

func TestThousandsComeAndGoAndNothingIsLeft(t *testing.T) {
	limiter := auth.NewLimiter(3)
	tokens, err := auth.NewJWT(auth.JWTOptions{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	s, hub := openGroups(t, keep, func(o *gateway.Options) { o.Auth, o.Connections, o.Token = tokens, limiter, "the operator's" })
	s.numbers("rhubarb_ws_connections 0") // its connection stays, to ask again
	before := files()
	// Each user has three connections at most, so some are refused.
	var queries []string
	for i := range 10 {
		queries = append(queries, "?access_token="+token(t, fmt.Sprint("user", i), time.Hour, annMay))
	}
	paths := []string{"/groups/chat.garden/events%s", "/groups/chat.garden/ws%s", "/tasks/x/events%s", "/tasks/x/ws%s", "/events%s&group=chat.garden&task=x", "/groups/chat.garden/events%s&last=5"}
	l := leaver{t, strings.TrimPrefix(s.url, "http://")}
	const clients, atOnce = 2000, 50
	var running sync.WaitGroup
	seats := make(chan struct{}, atOnce)
	for i := range clients {
		seats <- struct{}{}
		running.Go(func() {
			defer func() { <-seats }()
			query := queries[i/7%len(queries)]
			if i%11 == 0 {
				query = "?access_token=wrong"
			}
			l.visit(fmt.Sprintf(paths[i%len(paths)], query), i/len(paths)%4)
		})
	}
	running.Wait()
	s.numbers("rhubarb_ws_connections 0", "rhubarb_sse_connections 0")
	for end := time.Now().Add(20 * time.Second); hub.Stats().Channels.Load() > 0 || files() > before; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d channels are open; %d files are, %d were", hub.Stats().Channels.Load(), files(), before)
		}
	}
	for i := range queries { // every seat is free again
		for range 3 {
			s.seat(limiter, fmt.Sprint("user", i))
		}
	}
}

// seat takes one of a user's seats, which may become free in a moment.
func (s *site) seat(l *auth.Limiter, user string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		if _, ok := l.Enter(user); ok {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("a seat of %s is not free", user)
		}
	}
}
