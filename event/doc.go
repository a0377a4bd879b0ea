// Package event is Celery's stream of events: what workers tell about
// themselves and their tasks, and what Flower and celery events show.
//
// A worker has a [Sender]. It runs beside the work, says that the worker is
// there and alive, and takes what happens to tasks:
//
//	s, err := event.NewSender(broker, &event.SenderOptions{Hostname: "mail@host"})
//	go s.Run(ctx)
//	s.Send(event.TaskStarted(id))
//
// Events of tasks are off until somebody wants them, as in Celery: a monitor
// turns them on by remote control. Sending never waits; what cannot be kept is
// dropped and counted.
//
// A monitor reads the events of all workers, Go and Python alike, with
// [Receive], and a [State] makes of them who is alive and what became of the
// tasks.
//
// [Sender.Gossip] does a worker's duty in elections that Python workers hold.
//
// # Reading the source
//
// [Event] in event.go, the constructors in task.go and worker.go, [Decode] in
// decode.go, [Sender.Send] in sender.go and [Sender.Run] in run.go, then
// [State.Apply] in state.go.
package event
