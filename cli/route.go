package cli

import (
	"errors"
	"strings"

	"github.com/rhubarb-go/rhubarb"
)

// route is a flag in the form TASK=QUEUE or TASK=QUEUE:PRIORITY. What is behind
// the last colon is a priority if it is one digit.
type route rhubarb.Route

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *route) UnmarshalText(text []byte) error {
	task, queue, ok := strings.Cut(string(text), "=")
	if !ok || task == "" || queue == "" {
		return errors.New("want a form like mail.*=mail or mail.*=mail:3")
	}
	r.Task, r.Queue, r.Priority = task, queue, 0
	if n := len(queue) - 2; n >= 0 && queue[n] == ':' && queue[n+1] >= '0' && queue[n+1] <= '9' {
		r.Queue, r.Priority = queue[:n], int(queue[n+1]-'0')
	}
	return nil
}
