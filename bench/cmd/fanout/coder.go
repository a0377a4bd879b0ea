package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// coderEdge is coder/websocket with a goroutine and a channel per connection,
// as its chat example has it.
type coderEdge struct{ all groups[*subscriber] }

type subscriber struct{ messages chan []byte }

// maxWaiting is what a connection may be behind, in messages.
const maxWaiting = 256

func openCoder(context.Context) (edge, error) { return &coderEdge{}, nil }

func (e *coderEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow() //nolint:errcheck // it has ended
	s := &subscriber{make(chan []byte, maxWaiting)}
	group := groupOf(r)
	e.all.add(group, s)
	defer e.all.remove(group, s)
	ctx := c.CloseRead(context.Background())
	for {
		select {
		case m := <-s.messages:
			if write(ctx, c, m) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func write(ctx context.Context, c *websocket.Conn, m []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, m)
}

func (e *coderEdge) publish(group, text string) error {
	raw, err := json.Marshal(map[string]string{"m": text})
	if err != nil {
		return err
	}
	e.all.each(group, func(s *subscriber) { s.messages <- raw })
	return nil
}
