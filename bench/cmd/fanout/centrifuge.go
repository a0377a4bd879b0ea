package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/centrifugal/centrifuge"
)

// centrifugeEdge is a node with its broker in memory. Clients are subscribed as
// they connect. Its write delay is left at its default, off, since it would add
// to each latency; what saves memory is on.
type centrifugeEdge struct {
	*centrifuge.Node
	http.Handler
}

type groupKey struct{}

func openCentrifuge(context.Context) (edge, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		group, _ := ctx.Value(groupKey{}).(string)
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{group: {}},
		}, nil
	})
	node.OnConnect(func(*centrifuge.Client) {})
	if err := node.Run(); err != nil {
		return nil, err
	}
	h := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool: true, ReadBufferSize: 512, ProcessCommandsOffReadLoop: true,
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1}, // the crowd answers none
	})
	return &centrifugeEdge{node, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), groupKey{}, groupOf(r))))
	})}, nil
}

func (e *centrifugeEdge) publish(group, text string) error {
	raw, err := json.Marshal(map[string]string{"m": text})
	if err == nil {
		_, err = e.Publish(group, raw)
	}
	return err
}

// groupOf is the group that a path such as /groups/NAME/ws names.
func groupOf(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}
