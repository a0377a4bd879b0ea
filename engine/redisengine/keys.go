package redisengine

import (
	"strconv"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Keys. Those of kombu and Celery are theirs; ours begin with ours, behind the
// prefix. Scripts make them as well, see lua/parts.
const (
	ours = "rhubarb:"

	// sep parts a queue's name from a priority step, and the parts of a
	// binding. kombu/transport/redis.py sep.
	sep = "\x06\x16"

	// kombu/transport/virtual/base.py keyprefix_queue.
	bindingPrefix = "_kombu.binding."

	// celery/backends/base.py task_keyprefix: key and channel of a result.
	resultPrefix = "celery-task-meta-"
)

// own is a key or channel of ours.
func (e *Engine) own(name string) string { return e.opts.Prefix + ours + name }

// list is the list of a queue's priority step. kombu/transport/redis.py
// _q_for_pri.
func (e *Engine) list(queue string, step int) string {
	if step == 0 {
		return e.opts.Prefix + queue
	}
	return e.opts.Prefix + queue + sep + strconv.Itoa(engine.PrioritySteps[step])
}

// result is the key and channel of a task's result.
func (e *Engine) result(id string) string { return e.opts.ResultPrefix + resultPrefix + id }

// baseArgs are the first arguments of every script: the prefix of result keys,
// and the databases of results and broker if they differ.
func (e *Engine) baseArgs() []string {
	args := []string{e.opts.ResultPrefix + resultPrefix, "", ""}
	if db := e.opts.ResultDB; db != nil && *db != e.opts.DB {
		args[1], args[2] = strconv.Itoa(*db), strconv.Itoa(e.opts.DB)
	}
	return args
}
