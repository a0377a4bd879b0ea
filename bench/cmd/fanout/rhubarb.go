package main

import (
	"context"
	"net/http"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/ws"
)

// ours is a hub on an engine in memory, and what is before it.
type ours struct {
	http.Handler
	hub *channels.Hub
}

var relay = channels.NewRelay(func(e channels.Event) (channels.Message, error) {
	raw, err := e.JSON()
	return channels.Message{Text: true, Data: raw}, err
})

// listener follows the group of its path.
type listener struct{ channels.Base }

func (listener) Connect(ctx context.Context, c *channels.Conn) error {
	return c.Follow(ctx, c.Request().PathValue("group"), relay)
}

func hub(ctx context.Context) (*memengine.Engine, *channels.Hub, error) {
	e := memengine.New()
	h, err := channels.Open(ctx, e, nil)
	if err != nil {
		return nil, nil, err
	}
	go h.Run(ctx) //nolint:errcheck // the process ends it
	return e, h, nil
}

func openRhubarb(ctx context.Context) (edge, error) {
	_, h, err := hub(ctx)
	if err != nil {
		return nil, err
	}
	s, err := ws.New(&ws.Options{Ping: time.Hour, Detach: true}) // the crowd answers none
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/groups/{group}/ws", s.Handler(h, func() channels.Consumer { return listener{} }))
	return &ours{mux, h}, nil
}

func openRhubarbEvents(ctx context.Context) (edge, error) {
	e, h, err := hub(ctx)
	if err != nil {
		return nil, err
	}
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(app, &gateway.Options{Hub: h})
	return &ours{g, h}, err
}

func (o *ours) publish(group, text string) error {
	e, err := channels.NewEvent("m", map[string]string{"m": text})
	if err != nil {
		return err
	}
	return o.hub.GroupSend(context.Background(), group, e)
}
