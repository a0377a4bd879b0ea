// Package edge has tests of the HTTP edge with clients and proxies that others
// wrote: Chromium's EventSource and WebSocket, and eventsource,
// @microsoft/fetch-event-source and ws from npm, each directly, behind nginx
// and behind haproxy.
//
// The proxies' configurations are the files in testdata that docs/gateway.md
// quotes; the tests replace addresses, and nothing else. What the clients do is
// in clients/follow.js, as their users write it.
//
// # Reading the source
//
// group_test.go and stream_test.go for what is promised, way_test.go for the
// ways there, client_test.go and browser_test.go for the clients, main_test.go
// for what they share.
package edge
