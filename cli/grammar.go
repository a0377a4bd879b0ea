package cli

// grammar is the command line as kong reads it.
type grammar struct {
	globals

	Worker workerCmd `cmd:"" help:"Run this program's tasks."`
	Serve  serveCmd  `cmd:"" help:"Serve the HTTP API; with --worker run tasks as well."`
	Call   callCmd   `cmd:"" help:"Call a task."`
	Result resultCmd `cmd:"" help:"Show a task's state and result."`
	Tail   tailCmd   `cmd:"" help:"Follow a task's stream."`
	Revoke revokeCmd `cmd:"" help:"Stop tasks, waiting or running."`
	Events eventsCmd `cmd:"" help:"Show what workers do, as they say it."`
	Queues queuesCmd `cmd:"" help:"Show the queues' numbers."`
	Purge  purgeCmd  `cmd:"" help:"Drop the messages that wait in a queue."`
	Dead   deadCmd   `cmd:"" help:"Messages that could not be read or killed their workers."`
	Parked parkedCmd `cmd:"" help:"Messages of tasks that no worker knew."`

	Inspect inspectCmd `cmd:"" help:"Ask the workers, in Go and in Python."`
	Control controlCmd `cmd:"" help:"Tell the workers what to do."`

	Group groupCmd `cmd:"" help:"Groups of connections: send, listen, see who is there."`
}
