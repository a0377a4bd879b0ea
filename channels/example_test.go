package channels_test

import (
	"context"
	"fmt"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

// Message is what the connections of a room say to each other.
type Message struct {
	Message string `json:"message"`
}

// Room is the consumer of every tutorial: what one says, all in the room get.
type Room struct{ channels.Base }

// Connect joins the room that the path names.
func (Room) Connect(ctx context.Context, c *channels.Conn) error {
	return c.Join(ctx, "chat."+c.Request().PathValue("room"))
}

// Receive sends a client's message to the room.
func (Room) Receive(ctx context.Context, c *channels.Conn, m channels.Message) error {
	e, err := channels.JSONEvent("chat.message", m.Data)
	if err != nil {
		return c.Close(4400, "that is no JSON object")
	}
	return c.GroupSend(ctx, "chat."+c.Request().PathValue("room"), e)
}

// Event writes what somebody said in the room.
func (Room) Event(ctx context.Context, c *channels.Conn, e channels.Event) error {
	var m Message
	if err := e.Decode(&m); err != nil {
		return err
	}
	return c.WriteJSON(ctx, m)
}

// A consumer handles one connection; see the methods of Room.
func ExampleConsumer() {
	var _ channels.Consumer = Room{}
}

// Anyone with the engine sends to a group: a task, a handler, a command.
func ExampleGroupSend() {
	e := memengine.New()
	defer e.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	hub, err := channels.Open(ctx, e, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer hub.Close()
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()

	heard := make(chan string)
	ch, err := hub.Open(func(e channels.Event) {
		var m Message
		fmt.Println(e.Type, e.Decode(&m), m.Message)
		close(heard)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ch.Join(ctx, "chat.garden"); err != nil {
		fmt.Println(err)
		return
	}

	event, err := channels.NewEvent("chat.message", Message{"hello"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := channels.GroupSend(ctx, e, "chat.garden", event); err != nil {
		fmt.Println(err)
		return
	}
	<-heard
	fmt.Println(ch.Close(ctx))
	stop()
	fmt.Println(<-done)
	// Output:
	// chat.message <nil> hello
	// <nil>
	// <nil>
}
