package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// webSocket is a client that speaks rhubarb.v1: docs/gateway.md.
type webSocket struct{}

// closed is the error of a socket that the server has closed.
type closed struct {
	code   int
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed with %d %s", c.code, c.reason) }

func (webSocket) attach(nc net.Conn, addr, group, last string) (reader, error) {
	path := "/groups/" + group + "/ws"
	if last != "" {
		path += "?last_event_id=" + last
	}
	res, br, err := ask(nc, "GET "+path+" HTTP/1.1\r\nHost: "+addr+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: rhubarb.v1\r\n")
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("a handshake was answered with %s", res.Status)
	}
	return &frames{nc: nc, r: br}, nil
}

var hint = regexp.MustCompile(`retry=(\d+)`)

func (webSocket) again(err error, tries int) time.Duration {
	var c *closed
	if errors.As(err, &c) && c.code == 1012 {
		if said := hint.FindStringSubmatch(c.reason); said != nil {
			if ms, err := strconv.Atoi(said[1]); err == nil {
				return time.Duration(ms) * time.Millisecond
			}
		}
	}
	return backoff(tries)
}

// frames are those of one connection.
type frames struct {
	nc   net.Conn
	r    *bufio.Reader
	last string
}

func (f *frames) refused() bool { return false }

func (f *frames) position() string { return f.last }

func (f *frames) next() (message, error) {
	for {
		op, payload, err := f.frame()
		if err != nil {
			return message{}, err
		}
		switch op {
		case 1:
			var e struct {
				ID   string
				Gap  bool
				Data json.RawMessage
			}
			if err := json.Unmarshal(payload, &e); err != nil {
				return message{}, err
			}
			if e.ID != "" {
				f.last = e.ID
			}
			return message{id: e.ID, data: e.Data, gap: e.Gap}, nil
		case 8:
			_ = f.reply(8, payload[:min(len(payload), 2)]) // it closes anyway
			if len(payload) < 2 {
				return message{}, &closed{code: 1005}
			}
			return message{}, &closed{int(binary.BigEndian.Uint16(payload)), string(payload[2:])}
		case 9:
			if err := f.reply(10, payload); err != nil {
				return message{}, err
			}
		}
	}
}

// frame reads one frame, which a server does not mask. RFC 6455, 5.2.
func (f *frames) frame() (op byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(f.r, head[:2]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(f.r, head[2:4])
		size = uint64(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		_, err = io.ReadFull(f.r, head[2:10])
		size = binary.BigEndian.Uint64(head[2:10])
	}
	if err == nil && (head[0]&0x80 == 0 || size > 1<<20) {
		err = fmt.Errorf("a frame of %d bytes, first byte %#x", size, head[0])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(f.r, payload)
	return head[0] & 0xf, payload, err
}

// reply sends a control frame, with a mask of zeros.
func (f *frames) reply(op byte, payload []byte) error {
	_, err := f.nc.Write(append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	return err
}
