package control

import "time"

// The commands of celery/app/control.py Control. Send them with [Client.Cast],
// or with [Client.Call] if the replies matter.

// Revoke stops tasks: they will not be started, and those that run are ended
// too. A Python worker ends the process that runs the task with SIGTERM; to a
// Go worker it makes no difference whether terminate is set.
func Revoke(ids ...string) Command { return revoke(ids, true) }

// RevokeWaiting has Python workers skip tasks that have not started, and let
// run those that have. Go workers end them in either case.
func RevokeWaiting(ids ...string) Command { return revoke(ids, false) }

// termSignal is billiard.common.TERM_SIGNAME.
const termSignal = "SIGTERM"

func revoke(ids []string, terminate bool) Command {
	return Command{"revoke", struct {
		TaskID    []string `json:"task_id"`
		Terminate bool     `json:"terminate"`
		Signal    string   `json:"signal"`
	}{ids, terminate, termSignal}}
}

// RevokeStamped stops tasks that bear one of the stamps under a header, and
// also those that run if terminate is set.
func RevokeStamped(headers map[string][]string, terminate bool) Command {
	return Command{"revoke_by_stamped_headers", struct {
		Headers   map[string][]string `json:"headers"`
		Terminate bool                `json:"terminate"`
		Signal    string              `json:"signal"`
	}{headers, terminate, termSignal}}
}

// RateLimit sets how many tasks of a name each worker may start: "10/m", "5"
// for per second, "100/h". Empty or "0" means any number.
func RateLimit(task, rate string) Command {
	return Command{"rate_limit", struct {
		TaskName  string `json:"task_name"`
		RateLimit string `json:"rate_limit"`
	}{task, rate}}
}

// TimeLimit sets a task's time limits, in force from its next start. Zero is
// none.
func TimeLimit(task string, soft, hard time.Duration) Command {
	limit := func(d time.Duration) *float64 {
		if d <= 0 {
			return nil
		}
		s := d.Seconds()
		return &s
	}
	return Command{"time_limit", struct {
		TaskName string   `json:"task_name"`
		Hard     *float64 `json:"hard"`
		Soft     *float64 `json:"soft"`
	}{task, limit(hard), limit(soft)}}
}

// AddConsumer has workers take from a queue, from an exchange of the same name.
func AddConsumer(queue string) Command {
	return Command{"add_consumer", struct {
		Queue        string  `json:"queue"`
		Exchange     *string `json:"exchange"`
		ExchangeType string  `json:"exchange_type"`
		RoutingKey   *string `json:"routing_key"`
	}{queue, nil, "direct", nil}}
}

// CancelConsumer has workers no longer take from a queue.
func CancelConsumer(queue string) Command {
	return Command{"cancel_consumer", struct {
		Queue string `json:"queue"`
	}{queue}}
}

// PoolGrow has workers run n more tasks at once, and PoolShrink n less.
func PoolGrow(n int) Command   { return resize("pool_grow", n) }
func PoolShrink(n int) Command { return resize("pool_shrink", n) }

func resize(method string, n int) Command {
	return Command{method, struct {
		N int `json:"n"`
	}{n}}
}

// PoolRestart restarts the processes of Python workers that allow it.
func PoolRestart() Command {
	return Command{"pool_restart", struct {
		Modules  []string `json:"modules"`
		Reload   bool     `json:"reload"`
		Reloader *string  `json:"reloader"`
	}{}}
}

// Autoscale sets the range of Python workers that scale by themselves.
func Autoscale(most, least int) Command {
	return Command{"autoscale", struct {
		Max int `json:"max"`
		Min int `json:"min"`
	}{most, least}}
}

// EnableEvents has workers send the events of tasks, and DisableEvents no
// longer send them.
func EnableEvents() Command  { return Command{Method: "enable_events"} }
func DisableEvents() Command { return Command{Method: "disable_events"} }

// Heartbeat has workers send an event of that kind at once.
func Heartbeat() Command { return Command{Method: "heartbeat"} }

// Election has workers agree on one of them, who then does what action says.
// Python workers alone stand for election, and one that is by itself crashes
// (Celery 5.6); see docs/monitoring.md.
func Election(id, topic string, action any) Command {
	return Command{"election", struct {
		ID     string `json:"id"`
		Topic  string `json:"topic"`
		Action any    `json:"action"`
	}{id, topic, action}}
}

// Shutdown stops workers softly. They do not reply.
func Shutdown() Command { return Command{Method: "shutdown"} }
