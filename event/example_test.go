package event_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/event"
)

// A monitor follows all workers and keeps what it hears.
func ExampleReceive() {
	broker := memengine.New()
	defer broker.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	events, err := event.Receive(ctx, broker, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := event.NewSender(broker, &event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Send(event.TaskReceived(event.Taken{ID: "a1", Name: "mail.send_email", Args: "()", Kwargs: "{'to': 'a@example.org'}"}))
	s.Send(event.TaskStarted("a1"))
	s.Send(event.TaskSucceeded("a1", "'sent'", 20*time.Millisecond))
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()

	state, err := event.NewState(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range events {
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			fmt.Println(err) // no event, or one that lacks something
		}
		if t, _ := state.Task("a1"); t.State == "SUCCESS" {
			fmt.Println(t.Name, t.Kwargs, t.State, t.Result, t.Runtime, "on", t.Worker)
			break
		}
	}
	stop()
	fmt.Println(<-done)

	// Output:
	// mail.send_email {'to': 'a@example.org'} SUCCESS 'sent' 20ms on mail@host
	// <nil>
}
