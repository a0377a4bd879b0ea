// Package memengine keeps everything in memory: messages, claims, states,
// streams and locks. It is the reference for what an engine promises, and the
// engine of tests, in real time and in a testing/synctest bubble alike.
//
//	eng := memengine.New()
//	defer eng.Close()
//	app, err := rhubarb.New(engine.All(eng), nil)
//
// It starts no goroutine. One timer waits for what is due next (a delayed
// message, a lease, a time to live), and there is none while nothing is. What
// it holds is bounded by memory alone, and gone with the process.
//
// # Reading the source
//
// Start with [Engine] and its clock, then task (the one record that is claim,
// state and stream), receiver.claim and Engine.settle, and at last the facets
// one by one: publish.go, results.go, streams.go, locks.go.
package memengine
