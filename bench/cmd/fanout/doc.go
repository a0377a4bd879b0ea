// Command fanout measures one message to many connections: our WebSockets
// beside centrifuge, gws and coder/websocket, our event streams beside a plain
// net/http handler. The side bare is no library but a loop of writes: what the
// machine allows.
//
// Each side serves in a process of its own, which publishes when it is told to
// on its standard input. The crowd of clients is this process, one thread with
// epoll, the same for all sides: it counts each delivery, and one that is lost
// or doubled is an error. A message carries the time at which it was published.
//
// # Reading the source
//
// Start with compare in main.go, then the cases in cases.go, the crowd in
// crowd.go and the serving process in edge.go; the sides are in rhubarb.go,
// centrifuge.go, gws.go, coder.go, bare.go and events.go.
package main
