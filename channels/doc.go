// Package channels is groups of connections across processes, as Django
// Channels has them: a [Consumer] handles one connection, joins groups, and
// whoever sends an [Event] to a group reaches every connection in it.
//
// A process has one [Hub] on its engine. Each connection has a channel there,
// which groups contain; when the connection goes, its channel leaves them by
// itself, whatever its consumer did. The engine carries an event to each
// process once, and the hub hands the same bytes to all connections here.
//
// Where a group has thousands of connections, they follow it by a [Relay]: an
// event is rendered and framed once, and no consumer is called.
//
// Callbacks of one connection run one at a time, so a consumer needs no locks.
// Events wait for it in a bounded queue; what it is too slow for is dropped,
// the oldest first, and counted.
//
// # Reading the source
//
// Start with Consumer in consumer.go and [Serve] in serve.go, then [Hub] in
// hub.go, [Channel] in channel.go and [Relay] in relay.go; event.go is the wire.
package channels
