package event

import "time"

// Sent is what a client tells of a task it sent.
type Sent struct {
	ID, RootID, ParentID string
	Name                 string
	Args, Kwargs         string // as Python shows them
	Retries              int
	ETA, Expires         time.Time // zero means none
	Queue, Exchange, Key string
}

// TaskSent is sent by the caller of a task. celery/app/amqp.py send_task_message.
func TaskSent(s Sent) Event {
	var f fields
	return f.text("uuid", s.ID).text("root_id", root(s.RootID, s.ID)).optional("parent_id", s.ParentID).
		text("name", s.Name).text("args", s.Args).text("kwargs", s.Kwargs).whole("retries", s.Retries).
		time("eta", s.ETA).time("expires", s.Expires).
		text("queue", s.Queue).text("exchange", s.Exchange).text("routing_key", s.Key).event("task-sent")
}

// Taken is what a worker tells of a task it took.
type Taken struct {
	ID, Name         string
	Args, Kwargs     string // as Python shows them
	RootID, ParentID string
	Retries          int
	ETA, Expires     time.Time // zero means none
}

// TaskReceived is sent when a worker has taken a task from the broker.
// celery/worker/strategy.py default.
func TaskReceived(t Taken) Event {
	var f fields
	return f.text("uuid", t.ID).text("name", t.Name).text("args", t.Args).text("kwargs", t.Kwargs).
		text("root_id", root(t.RootID, t.ID)).optional("parent_id", t.ParentID).whole("retries", t.Retries).
		time("eta", t.ETA).time("expires", t.Expires).event("task-received")
}

func root(root, id string) string {
	if root == "" {
		return id
	}
	return root
}

// TaskStarted is sent when a task's handler begins.
func TaskStarted(id string) Event { return fields(nil).text("uuid", id).event("task-started") }

// TaskSucceeded is sent after the result was stored. The result is as Python
// shows it: "'done'" with its quotes, "5".
func TaskSucceeded(id, result string, runtime time.Duration) Event {
	var f fields
	return f.text("uuid", id).text("result", result).float("runtime", runtime.Seconds()).event("task-succeeded")
}

// TaskFailed tells the exception as Python shows it, "KeyError('x')", and the
// traceback's text.
func TaskFailed(id, exception, traceback string) Event {
	return ended("task-failed", id, exception, traceback)
}

// TaskRetried is sent after the next message was, with the cause.
func TaskRetried(id, exception, traceback string) Event {
	return ended("task-retried", id, exception, traceback)
}

func ended(kind, id, exception, traceback string) Event {
	var f fields
	return f.text("uuid", id).text("exception", exception).optional("traceback", traceback).event(kind)
}

// TaskRejected is sent for a message that is rejected for good.
func TaskRejected(id string) Event { return rejected(id, false) }

// TaskRequeued is sent for one that goes back into its queue; it has the same
// type.
func TaskRequeued(id string) Event { return rejected(id, true) }

func rejected(id string, requeue bool) Event {
	return fields(nil).text("uuid", id).yes("requeue", requeue).event("task-rejected")
}

// TaskRevoked is sent for a task that was revoked before it began.
// celery/worker/request.py _announce_revoked.
func TaskRevoked(id string) Event { return revoked(id, false, 0, false) }

// TaskTerminated is sent for one that was stopped while it ran, with the
// signal's number; it has the same type.
func TaskTerminated(id string, signal int) Event { return revoked(id, true, signal, false) }

// TaskExpired is sent for one whose time was over before it began; it has the
// same type.
func TaskExpired(id string) Event { return revoked(id, false, 0, true) }

func revoked(id string, terminated bool, signal int, expired bool) Event {
	f := fields(nil).text("uuid", id).yes("terminated", terminated)
	if terminated {
		f = f.whole("signum", signal)
	} else {
		f = f.raw("signum", nil)
	}
	return f.yes("expired", expired).event("task-revoked")
}

// TaskCancelled is sent for a task whose run was given up because the worker
// stops or lost its broker.
func TaskCancelled(id string) Event { return fields(nil).text("uuid", id).event("task-cancelled") }
