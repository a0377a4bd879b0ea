// Package ws serves WebSockets (RFC 6455, with permessage-deflate, RFC 7692).
//
// Most programs want [Server.Handler]: an http.Handler for any router that
// gives each connection a consumer of package channels, with groups.
//
//	edge, err := ws.New(nil)
//	mux.Handle("/ws/chat/{room}/", edge.Handler(hub, func() channels.Consumer { return new(Chat) }))
//	…
//	edge.Drain(ctx, 10*time.Second) // on SIGTERM: closes with 1012, spread over the time
//
// Below that, [Server.Accept] makes a [Conn] of a request, which reads and
// writes messages.
//
// # What is refused
//
// Pages of other sites (403), unless [Options].Origins names them; a handshake
// that is none (400, 405, 426); more than [Options].MaxConns (503). In an open
// connection what breaks the protocol is answered by its close code, then the
// drop: 1002, 1007 for text that is not UTF-8, 1009 for messages over
// [Options].MaxMessage, 1008 for one that is not whole in
// [Options].MessageTimeout. A client that does not read, or does not answer a
// ping, is dropped. All of it is counted in [Stats].
//
// A handshake that never ends is the http.Server's to refuse, which waits for
// ever unless it is told otherwise: set its ReadHeaderTimeout, and its
// MaxHeaderBytes.
//
// # What it costs
//
// An idle connection has one goroutine, which waits to read, and no buffer. In
// the middle of a message it has what came of it, at most MaxMessage.
// Writing never waits: package internal/push has the queues. A message for
// many is framed once.
//
// # Reading the source
//
// [Server.Accept] in handshake.go, the parser in reader.go, [Conn.Read] and the
// close handshake in conn.go, compression in deflate.go, consumers in
// handler.go.
package ws
