package ws_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/ws"
)

// room sends what a client says to everyone in the room of the path.
type room struct{ channels.Base }

// spoken writes an event once for all who follow the room.
var spoken = channels.NewRelay(func(e channels.Event) (channels.Message, error) {
	var text struct {
		Message string `json:"message"`
	}
	err := e.Decode(&text)
	return channels.Message{Text: true, Data: []byte(text.Message)}, err
})

// Connect shows a newcomer the last ten messages, then what is new.
func (room) Connect(ctx context.Context, c *channels.Conn) error {
	return c.Resume(ctx, "chat."+c.Request().PathValue("room"), spoken, channels.Replay{Last: 10})
}

// Receive sends to the room, which keeps it for an hour.
func (room) Receive(ctx context.Context, c *channels.Conn, m channels.Message) error {
	e, err := channels.NewEvent("chat.message", map[string]string{"message": string(m.Data)})
	if err != nil {
		return err
	}
	return c.GroupSend(ctx, "chat."+c.Request().PathValue("room"), e, channels.Keep(time.Hour))
}

// A chat: one handler on any router. The second client comes later and gets
// what was said.
func ExampleServer_Handler() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	e := memengine.New() // a program would open the engine of its choice
	defer e.Close()
	hub, err := channels.Open(ctx, e, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()
	running := make(chan error, 1)
	go func() { running <- hub.Run(ctx) }()
	defer func() { stop(); <-running }()

	edge, err := ws.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/ws/chat/{room}/", edge.Handler(hub, func() channels.Consumer { return room{} }))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer edge.Drain(ctx, 0) // closes with 1012, which clients take for "come back"

	url := "ws" + strings.TrimPrefix(srv.URL, "http") + "/ws/chat/garden/"
	for _, name := range []string{"first", "second"} {
		c, _, err := websocket.Dial(ctx, url, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.CloseNow()
		if name == "first" {
			err = c.Write(ctx, websocket.MessageText, []byte("hello"))
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		_, text, err := c.Read(ctx)
		fmt.Println(name, "heard", string(text), err)
	}

	// Output:
	// first heard hello <nil>
	// second heard hello <nil>
}
