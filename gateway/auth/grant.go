package auth

import (
	"slices"
	"strings"
	"time"
)

// Action is something a user may do to a group, a stream or a task. The zero
// Action is none, and nobody may do it.
type Action int

// The actions. A ticket carries them as numbers: add new ones at the end.
const (
	ReadGroup  Action = iota + 1 // receive what is sent to a group
	WriteGroup                   // send to a group
	ReadStream                   // follow the stream of a task id
	CallTask                     // call a task by its name
	RevokeTask                   // stop invocations of a task
)

var actions = [...]string{
	ReadGroup:  "read group",
	WriteGroup: "write group",
	ReadStream: "read stream",
	CallTask:   "call task",
	RevokeTask: "revoke task",
}

// String returns the action in words, such as "call task".
func (a Action) String() string {
	if !a.valid() {
		return "no action"
	}
	return actions[a]
}

func (a Action) valid() bool { return a > 0 && int(a) < len(actions) }

const (
	maxUser = 256  // bytes in a user
	maxName = 1024 // bytes in a name that is matched: more than any name here has
)

// Grant says who asks and what that user may do. The zero Grant is nobody and
// allows nothing. Any number of goroutines may read one at once; its lists are
// shared, so nobody may change them.
//
// The lists hold patterns: * stands for any text, \ takes the meaning off the
// next character, all else stands for itself.
type Grant struct {
	User    string    // who asks; empty is anonymous
	Expires time.Time // when it ends; zero is never

	ReadGroups  []string // names of groups
	WriteGroups []string // names of groups
	ReadStreams []string // ids of tasks
	CallTasks   []string // names of tasks
	RevokeTasks []string // names or ids of tasks, as the caller of Allows decides
}

// Allows reports whether the user may do the action to what has the name. A
// nil grant, one that expired, an empty name and one over 1024 bytes are
// refused.
func (g *Grant) Allows(action Action, name string) bool {
	if g == nil || g.expired() || name == "" || len(name) > maxName {
		return false
	}
	list := g.list(action)
	return list != nil && slices.ContainsFunc(*list, func(pattern string) bool { return match(pattern, name) })
}

func (g *Grant) expired() bool { return !g.Expires.IsZero() && !time.Now().Before(g.Expires) }

// list returns the patterns of an action, nil for one that does not exist.
func (g *Grant) list(action Action) *[]string {
	switch action {
	case ReadGroup:
		return &g.ReadGroups
	case WriteGroup:
		return &g.WriteGroups
	case ReadStream:
		return &g.ReadStreams
	case CallTask:
		return &g.CallTasks
	case RevokeTask:
		return &g.RevokeTasks
	}
	return nil
}

// match goes back to the last star only, which is enough when stars cross
// everything, and keeps the time within len(pattern)*len(name).
func match(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case literal(pattern[p:], name[n]) > 0:
			p += literal(pattern[p:], name[n])
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// literal returns how many bytes of the pattern stand for the byte: 0 is none.
func literal(pattern string, b byte) int {
	switch {
	case len(pattern) > 1 && pattern[0] == '\\' && pattern[1] == b:
		return 2
	case len(pattern) > 0 && pattern[0] != '\\' && pattern[0] == b:
		return 1
	}
	return 0
}

var quoter = strings.NewReplacer(`\`, `\\`, `*`, `\*`)

// quote returns the pattern of one name.
func quote(name string) string { return quoter.Replace(name) }
