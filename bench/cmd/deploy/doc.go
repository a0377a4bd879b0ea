// Command deploy restarts two servers one after the other under load, and says
// what their clients noticed.
//
// Both are the real rhubarb serve, on one engine: the embedded one, which one of
// them holds and the other takes over, or a nats-server. The clients, half of
// them an EventSource and half a WebSocket, come back as they are told to, to
// whichever server a load balancer would give them. Messages to groups with a
// history are numbered, and sent over HTTP all the while.
//
// It is an error, and the exit code is 1, if a client misses a message or gets
// one twice or out of order, is told a gap or by an event stream to stay away, or
// is not back within ten seconds; and if a server does not end in its grace with
// exit code 0.
//
// # Reading the source
//
// Start with rehearse in rehearsal.go; then the client in client.go with its two
// wires in events.go and socket.go, the load in publish.go, what is asked of the
// servers in server.go and balance.go, and the promises in verdict.go.
package main
