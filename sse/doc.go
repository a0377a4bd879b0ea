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
// A program that serves many has one [Server], which takes connections over
// HTTP/1.1 from net/http, bounds and counts all of them and spreads their end
// over a deploy, and calls [Prepare] on its http.Server, so that peers that
// vanished are noticed. What goes to many connections is a [Frame], which
// [Conn.Push] queues without waiting; after [Conn.Stay] an idle connection is
// one goroutine that waits to read.
//
// On the other side [Reader] reads the events of any body, and [Subscribe]
// keeps up a connection as a browser does.
//
// # Reading the source
//
// event.go for the bytes, request.go and origin.go for who gets a stream,
// conn.go for a connection, response.go and taken.go for the two ways in which
// bytes reach it, server.go for all of them, handler.go for streams, reader.go
// and client.go for the other side. The rules are those of the HTML standard,
// section 9.2.
package sse
