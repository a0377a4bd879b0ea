package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/sse"
)

// eventSource is a client as browsers have it: HTML, 9.2.
type eventSource struct {
	retry time.Duration // what the server said last
	r     *sse.Reader
}

// browserRetry is what Chromium waits when no server has said anything.
const browserRetry = 3 * time.Second

func (e *eventSource) attach(nc net.Conn, addr, group, last string) (reader, error) {
	head := "GET /groups/" + group + "/events HTTP/1.1\r\nHost: " + addr + "\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n"
	if last != "" {
		head += "Last-Event-ID: " + last + "\r\n"
	}
	res, _, err := ask(nc, head)
	if err != nil {
		return nil, err
	}
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		return nil, fmt.Errorf("an event stream was answered with %s, %q: %w", res.Status, kind, errFinal)
	}
	// A stream that is to last begins with a comment.
	body := bufio.NewReaderSize(res.Body, 2<<10)
	first, err := body.Peek(1)
	if err != nil {
		return nil, err
	}
	e.r = sse.NewReader(body, nil)
	return &events{r: e.r, busy: first[0] != ':'}, nil
}

// ask sends a request and reads the head of its answer.
func ask(nc net.Conn, head string) (*http.Response, *bufio.Reader, error) {
	if err := nc.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return nil, nil, err
	}
	if _, err := nc.Write([]byte(head + "\r\n")); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReaderSize(nc, 2<<10)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, nil, err
	}
	return res, br, nc.SetDeadline(time.Time{})
}

func (e *eventSource) again(error, int) time.Duration {
	if e.r != nil && e.r.Retry() > 0 {
		e.retry = e.r.Retry()
	}
	e.r = nil
	if e.retry == 0 {
		return browserRetry
	}
	return e.retry
}

// events are those of one connection.
type events struct {
	r    *sse.Reader
	busy bool
}

func (e *events) refused() bool { return e.busy }

func (e *events) position() string { return e.r.LastEventID() }

func (e *events) next() (message, error) {
	ev, err := e.r.Next()
	return message{id: ev.ID, data: []byte(ev.Data), gap: ev.Type == "gap"}, err
}
