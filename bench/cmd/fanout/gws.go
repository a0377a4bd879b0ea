package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/lxzan/gws"
)

// gwsEdge is bare gws: its broadcaster frames a message once and hands it to
// the write queue of each connection.
type gwsEdge struct {
	gws.BuiltinEventHandler
	up  *gws.Upgrader
	all groups[*gws.Conn]
}

func openGWS(context.Context) (edge, error) {
	e := &gwsEdge{}
	e.up = gws.NewUpgrader(e, &gws.ServerOption{})
	return e, nil
}

func (e *gwsEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := e.up.Upgrade(w, r)
	if err != nil {
		return
	}
	group := groupOf(r)
	e.all.add(group, c)
	go func() { // as its documentation advises, so that the request can be freed
		c.ReadLoop()
		e.all.remove(group, c)
	}()
}

func (e *gwsEdge) publish(group, text string) error {
	raw, err := json.Marshal(map[string]string{"m": text})
	if err != nil {
		return err
	}
	b := gws.NewBroadcaster(gws.OpcodeText, raw)
	defer b.Close() //nolint:errcheck // it gives its memory back
	e.all.each(group, func(c *gws.Conn) { _ = b.Broadcast(c) })
	return nil
}
