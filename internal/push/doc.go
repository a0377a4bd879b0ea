// Package push is how bytes reach thousands of connections.
//
// A message for many is encoded once; [Conn.Push] puts a reference to it into
// the queue of each connection and returns. A connection with something to
// write stands once in its [Pool]'s ready list. A few flushers go through that
// list and write all that a connection has waiting, small messages joined, in
// one non-blocking write. They run only while there is something to write, and
// a connection costs no goroutine and no buffer while it is idle.
//
// A socket that does not take all of it is left to a goroutine that waits for
// it, under a deadline; so are connections that cannot be written to without
// waiting, like those over TLS. Nobody who pushes ever waits, and no client
// waits for another one. A client that falls behind by more than its bound is
// closed with [ErrSlow], or loses messages, or gets the newest of each key: see
// [Policy].
//
// [Conn.Close] drops a connection at once. [Conn.End] lets the client have what
// waits and a last message, and the owner hear its answer.
//
// A [Wheel] has the heartbeats and expiries of all of them, in one timer.
//
// # Reading the source
//
// Start at [Conn.Push] (conn.go), then queue (queue.go), Pool.makeReady (pool.go),
// pen.flush (pen.go), Conn.end (end.go) and Wheel.turn (wheel.go).
package push
