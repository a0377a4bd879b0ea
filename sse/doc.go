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
// A program that serves many has one [Drain], which bounds their number and
// spreads their end over a deploy, and calls [Prepare] on its server, so that
// peers that vanished are noticed.
//
// On the other side [Reader] reads the events of any body, and [Subscribe]
// keeps up a connection as a browser does.
//
// # Reading the source
//
// event.go for the bytes, request.go and origin.go for who gets a stream,
// conn.go for a connection and its heartbeat, handler.go for streams, reader.go
// and client.go for the other side. The rules are those of the HTML standard,
// section 9.2.
package sse
