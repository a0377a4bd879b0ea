// Package natsengine keeps tasks, results, streams and locks in NATS
// JetStream, 2.14 or later: embedded in this process, on one server, or on a
// cluster.
//
// # On the wire
//
// A message travels as AMQP would carry it: its headers and properties beside
// its body, in NATS headers. It waits in the WorkQueue stream RB_TASKS under
// rb.q.<queue>.<step>, or as a schedule under rb.eta.<queue>.<id>.<round> that
// the server delivers there when it is due.
//
// # The record of a task
//
// JetStream accepts the acknowledgement of a delivery that it has handed out
// again meanwhile, and keeps its delivery count in memory for a while; so
// neither can fence anybody. What fences is the task's control subject,
// rb.log.<pp>.<id>.c. To take is to write a claim there by the expected last
// sequence, and that sequence is the fence: a settlement, a state and every
// record of output is a write that expects it. The claim is also the reset of
// the task's stream, and the settlement its end.
//
// A settlement keeps what must follow from it (a retry, callbacks, the move to
// a shelf) inside the record, and the message is acknowledged last. Whoever
// meets a message whose task is settled does what is left and acknowledges it.
//
// # Reading the source
//
// names.go for subjects, publish.go for what goes in, receive.go and claim.go
// for what comes out, settle.go for its end, record.go for the record that all
// of it writes, streams.go for readers.
package natsengine
