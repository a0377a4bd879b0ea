package natsengine

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Subjects and streams. All begin with RB_ or rb. so that a shared NATS stays
// tidy.
const (
	streamTasks = "RB_TASKS" // rb.q.<queue>.<step> and rb.eta.<id>
	streamShelf = "RB_SHELF" // rb.shelf.<shelf>.<id>
	streamFlags = "RB_FLAGS" // rb.rev.<id>, rb.key.<key>, rb.lock.<name>, rb.pres.<group>.<owner>

	// partitions is over how many streams the logs are spread. Each costs the
	// server a sync a second even when idle; each bounds what a replay must
	// pass over. It is part of every position and of the data's format.
	partitions = 4

	subjectQueue = "rb.q."
	subjectETA   = "rb.eta."
	subjectShelf = "rb.shelf."
	subjectRev   = "rb.rev."
	subjectKey   = "rb.key."
	subjectLock  = "rb.lock."
	subjectTopic = "rb.topic."
)

// token writes any name as one token of a subject or a consumer's name:
// letters, digits, '-' and '_' stand for themselves, any other byte is ~ and
// two hex digits. A name too long for a subject is cut and gets its hash.
func token(name string) string {
	plain := true
	for i := range len(name) {
		if !tokenByte(name[i]) {
			plain = false
			break
		}
	}
	if plain && name != "" {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; tokenByte(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	if b.Len() == 0 {
		return "~"
	}
	return b.String()
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// untoken undoes token.
func untoken(tok string) string {
	if !strings.Contains(tok, "~") {
		return tok
	}
	var b strings.Builder
	for i := 0; i < len(tok); i++ {
		var c byte
		if tok[i] == '~' && i+2 < len(tok) {
			if _, err := fmt.Sscanf(tok[i+1:i+3], "%02x", &c); err == nil {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		if tok[i] != '~' {
			b.WriteByte(tok[i])
		}
	}
	return b.String()
}

// logOf names the partition stream and the subject prefix of a task's log.
func logOf(id string) (stream, prefix string) {
	h := fnv.New32a()
	h.Write([]byte(id)) //nolint:errcheck // a hash never fails
	p := h.Sum32() % partitions
	return fmt.Sprintf("RB_LOG_%02d", p), fmt.Sprintf("rb.log.%02d.%s.", p, token(id))
}

func queueSubject(queue string, priority int) string {
	return subjectQueue + token(queue) + "." + string(rune('0'+engine.PrioritySteps[engine.Step(priority)]))
}
