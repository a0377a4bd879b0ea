package celery_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// client sends tasks and learns what became of them.
type client interface {
	// send sends a call, and what is to follow it.
	send(ctx context.Context, c *call) error
	// get waits for the end of a task.
	get(ctx context.Context, id string) (answer, error)
	// revoke stops a task, also while it runs.
	revoke(ctx context.Context, id string) error
	// forget removes a result.
	forget(ctx context.Context, id string) error
}

// answer is what a client is told of a task: its value as kombu's JSON, or the
// type and the text of its error.
type answer struct {
	State string `json:"state"`
	Value string `json:"value"`
	Error string `json:"error"`
	Text  string `json:"text"`
}

// event is one that a Celery client heard.
type event map[string]any

func (e event) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// celeryClient is project/client.py in a process. Its methods may be called at
// once.
type celeryClient struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	reading sync.WaitGroup

	mu      sync.Mutex
	n       int
	waiting map[int]chan json.RawMessage
	events  map[string][]event // by the task's id
	more    chan struct{}      // closed at the next event
	ended   bool
}

// newCeleryClient starts the program and waits until it hears events.
func newCeleryClient(cmd *exec.Cmd) (*celeryClient, error) {
	c := &celeryClient{cmd: cmd, waiting: map[int]chan json.RawMessage{}, events: map[string][]event{}, more: make(chan struct{})}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(err, outErr, cmd.Start()); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd, err)
	}
	c.in = in
	ready := make(chan json.RawMessage, 1)
	c.waiting[0] = ready
	c.reading.Go(func() { c.read(out) })
	if _, ok := <-ready; !ok {
		return nil, errors.Join(fmt.Errorf("%s was never ready", cmd), c.close())
	}
	return c, nil
}

// read takes what the program says until its end. The answer with the number 0
// says that it is ready.
func (c *celeryClient) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var said struct {
			N     int
			Event event
		}
		raw := slices.Clone(lines.Bytes())
		if err := json.Unmarshal(raw, &said); err != nil {
			fmt.Fprintf(os.Stderr, "client.py says %.200q: %v\n", raw, err)
			continue
		}
		c.said(said.N, said.Event, raw)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for n, ch := range c.waiting {
		close(ch)
		delete(c.waiting, n)
	}
}

func (c *celeryClient) said(n int, e event, raw json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e != nil {
		id := e.text("uuid")
		c.events[id] = append(c.events[id], e)
		close(c.more)
		c.more = make(chan struct{})
		return
	}
	if ch := c.waiting[n]; ch != nil {
		ch <- raw
		delete(c.waiting, n)
	}
}

// heard returns what was heard of a task so far, and a channel that is closed
// when there is more of any.
func (c *celeryClient) heard(id string) ([]event, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events[id]), c.more
}

// do has the program obey a command and reads the answer into out.
func (c *celeryClient) do(ctx context.Context, command string, arguments map[string]any, out any) error {
	n, reply, err := c.ask(command, arguments)
	if err != nil {
		return fmt.Errorf("client.py: %s: %w", command, err)
	}
	var raw json.RawMessage
	select {
	case raw = <-reply:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, n)
		return fmt.Errorf("client.py: %s: %w", command, context.Cause(ctx))
	}
	if raw == nil {
		return fmt.Errorf("client.py: %s: it has ended", command)
	}
	var failed struct{ Failed string }
	if err := json.Unmarshal(raw, &failed); err != nil || failed.Failed != "" {
		return fmt.Errorf("client.py: %s: %s %v", command, failed.Failed, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

func (c *celeryClient) ask(command string, arguments map[string]any) (n int, reply chan json.RawMessage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, nil, errors.New("it has ended")
	}
	c.n++
	line, err := json.Marshal(map[string]any{"n": c.n, "do": command, "arguments": arguments})
	if err != nil {
		return 0, nil, err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return 0, nil, err
	}
	reply = make(chan json.RawMessage, 1)
	c.waiting[c.n] = reply
	return c.n, reply, nil
}

func (c *celeryClient) close() error {
	err := c.in.Close()
	c.reading.Wait()
	return errors.Join(err, c.cmd.Wait())
}

func (c *celeryClient) send(ctx context.Context, call *call) error {
	return c.do(ctx, "send", map[string]any{"call": call}, nil)
}

func (c *celeryClient) get(ctx context.Context, id string) (a answer, err error) {
	err = c.do(ctx, "get", map[string]any{"id": id, "timeout": patience / time.Second}, &a)
	return a, err
}

func (c *celeryClient) revoke(ctx context.Context, id string) error {
	return c.do(ctx, "revoke", map[string]any{"id": id, "terminate": true}, nil)
}

func (c *celeryClient) forget(ctx context.Context, id string) error {
	return c.do(ctx, "forget", map[string]any{"id": id}, nil)
}
