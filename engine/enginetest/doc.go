// Package enginetest defines what an engine is: one table of explained cases
// and one set of benchmarks per facet, run against every implementation.
// Behaviour that is not in here is not promised.
//
//	func TestEngine(t *testing.T) {
//		enginetest.Engine{
//			Open: open,                       // fresh and empty, closed by t.Cleanup
//			Has:  []string{"ping", "unified"}, // must match what it implements
//		}.Run(t)
//	}
//
// An engine of one facet runs that suite alone: [Broker], [Results],
// [Streams] or [Locks]. [Unified] is for engines that keep claim, state and
// stream as one record. What an engine can do to itself (open its data twice,
// be killed, lose its connection) it hands in as hooks, and more cases run.
//
// In real time cases run in parallel and mostly wait (for leases and times to
// live): go test -parallel 12 is several times faster than the default.
//
// # Reading the source
//
// Start with [Engine] and the tables: brokerTests, resultsTests, streamsTests,
// locksTests and unifiedTests.
package enginetest
