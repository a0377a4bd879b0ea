package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestLimitsAreToldInWords(t *testing.T) {
	good := engine.Publication{Message: engine.Message{ID: "a"}, Queue: "q"}
	long := good
	long.ID = strings.Repeat("é", 128)
	nowhere := good
	nowhere.Queue = ""
	large := good
	large.Headers, large.Body = make([]byte, 1), make([]byte, engine.MaxMessage)
	for _, c := range []struct {
		name string
		err  error
		want string // "" for no error
	}{
		{"a small publication", good.Check(), ""},
		{"an id counted in bytes", long.Check(), "message id has 256 bytes, at most 255 are carried"},
		{"no queue", nowhere.Check(), "queue name is empty"},
		{"headers and body together", large.Check(), "message has 1000001 bytes"},
		{"a state without an id", engine.State{}.Check(), "task id is empty"},
		{"a bare settlement", engine.Settlement{}.Check(), ""},
		{"a settlement's state", engine.Settlement{State: &engine.State{ID: "a", Record: make([]byte, engine.MaxRecord+1)}}.Check(), "state record has 1000001 bytes"},
		{"a settlement's follow-up", engine.Settlement{Follow: []engine.Publication{good, nowhere}}.Check(), "follow-up a: queue name is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "" {
				if c.err != nil {
					t.Errorf("got %v, want no error", c.err)
				}
				return
			}
			if !errors.Is(c.err, engine.ErrLimit) || !strings.HasPrefix(c.err.Error(), c.want) {
				t.Errorf("got %v, want ErrLimit and %q", c.err, c.want)
			}
		})
	}
}
