// Package demo is the subcommand demo: a page on which everything can be seen
// and broken. It runs real tasks in two worker processes that it supervises,
// and a person may kill either of them, or the whole demo, with a real SIGKILL.
//
// The tasks in tasks.go are what an application would write. The page calls
// them through package gateway and follows each with rhubarb.js; the rest of the
// server is a clock for a bare EventSource, the queue's numbers, a chat room,
// also for a bare WebSocket, and a button that kills.
//
// A worker is the same binary started again by the supervisor, joined to the
// same data directory. It holds the end of a pipe to the demo: when that
// closes, however the demo died, the worker dies too.
//
// # Reading the source
//
// [Command] in demo.go, the tasks in tasks.go, the room in chat.go, the routes in server.go, the
// numbers in board.go, the processes in supervisor.go and child.go, and the
// browser's side in page/page.js.
package demo
