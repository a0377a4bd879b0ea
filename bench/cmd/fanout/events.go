package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// plainEdge is an event stream as one writes it with net/http alone: a channel
// per connection, and its handler writes and flushes.
type plainEdge struct{ all groups[*subscriber] }

func openPlainEvents(context.Context) (edge, error) { return &plainEdge{}, nil }

func (e *plainEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &subscriber{make(chan []byte, maxWaiting)}
	group := groupOf(r)
	e.all.add(group, s)
	defer e.all.remove(group, s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	for {
		m := []byte(":\n")
		select {
		case m = <-s.messages:
		case <-beat.C:
		case <-r.Context().Done():
			return
		}
		if _, err := w.Write(m); err != nil || rc.Flush() != nil {
			return
		}
	}
}

func (e *plainEdge) publish(group, text string) error {
	raw, err := json.Marshal(map[string]string{"m": text})
	if err != nil {
		return err
	}
	event := append(append([]byte("data: "), raw...), "\n\n"...)
	e.all.each(group, func(s *subscriber) { s.messages <- event })
	return nil
}
