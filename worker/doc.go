// Package worker takes tasks from the engine, runs them, and settles them.
//
//	w, err := worker.New(app, []rhubarb.Runnable{SendEmail}, nil)
//	err = w.Run(ctx) // until ctx ends
//
// A worker takes as many messages as it has free slots, never more, so that no
// worker hoards what another could run. Each message is one goroutine; ten
// thousand waiting handlers in one process are normal. One lease covers all
// that the process holds: every 2.5 seconds it is renewed, and what a dead
// process held is out again within ten.
//
// A task is settled after its handler returned: state, follow-up messages,
// the end of its stream and the removal of its message go to the engine in one
// call, many tasks at a time. A process that lost its lease is refused there,
// and its handlers' contexts end with [rhubarb.ErrSuperseded].
//
// When Run's context ends, the worker stops taking, lets running tasks go on
// for the grace, then cancels their contexts with [rhubarb.ErrShutdown] and
// gives them back; that burns no attempt.
//
// # Reading the source
//
// [Worker.Run] in worker.go holds the life of a session; take.go brings
// messages in, run.go runs one, outcome.go decides what follows from what the
// handler returned, settle.go hands that to the engine, lease.go keeps it ours.
package worker
