// Package sse speaks text/event-stream, for servers and clients.
//
// A handler of an application's own needs no engine:
//
//	c, err := sse.Upgrade(w, r, nil)
//	if err != nil {
//		return
//	}
//	defer c.Close()
//	for now := range ticks {
//		if c.Send(sse.Event{Data: now.Format(time.TimeOnly)}) != nil {
//			return
//		}
//	}
//
// [ServeStream] serves a resumable stream: a browser's EventSource that
// reconnects, and sends Last-Event-ID by itself, goes on where it was.
//
// # Reading the source
//
// event.go for the bytes, conn.go for a connection and its heartbeat,
// handler.go for streams, origin.go for who may read, reader.go and client.go
// for the other side. The rules are those of the HTML standard, section 9.2.
package sse
